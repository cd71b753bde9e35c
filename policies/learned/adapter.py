"""`PolicyAdapter`, which turns a checkpoint into a policy.

    observation → processor → model.predict() → inverse of the processor → chunk

The `Processor` that prepared the training data also prepares the observations for the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from policies.base import Chunks, Observation, Policy, PolicyUnavailable, Slots
from policies.learned.devices import TILES, Device, calls_at_once, check_device, return_freed_memory
from policies.learned.rows import PolicyOutline, Rows, SlotMemory
from policies.options import check_execution
from simscaleai.contract import ActionSpec
from simscaleai.errors import SimScaleError, exception_text

if TYPE_CHECKING:
    from simscaleai.checkpoint import Checkpoint


class PolicyAdapter(Policy):
    """A learned policy. Its memory is an instruction and a stream of noise for each slot."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        n_action_steps: int | None = None,
        ensemble_decay: float | None = None,
        synchronous: bool = False,
        device: Device | None = None,
    ) -> None:
        """Wrap a loaded checkpoint.

        Args:
            checkpoint: From `simscaleai.checkpoint.load_checkpoint`.
            n_action_steps: Actions of a chunk to execute before the next prediction; by default the checkpoint's value.
            ensemble_decay: Average overlapping chunks instead, with this decay per step.
            synchronous: Whether the robot waits while the policy computes.
            device: Where the model computes: on all cores of the CPU or on a GPU; None for one core.

        Raises:
            SimScaleError: If the chunk is shorter than `n_action_steps`, options contradict each other, the parts of
                the checkpoint do not fit together, or this machine lacks the device.
        """
        from policies.learned.inference import RowInference

        self.checkpoint = checkpoint
        self.needs = checkpoint.needs
        if self.needs.history != 1:
            raise SimScaleError(
                f"learned policies look at 1 observation at a time, the checkpoint needs history={self.needs.history}; "
                "use the version of simscaleai that made it"
            )
        self.identity = checkpoint.digest
        self.options = _execution_options(checkpoint, n_action_steps, ensemble_decay, synchronous)
        self._processor = checkpoint.processor
        if device is not None:
            check_device(device)
        self._inference = RowInference(
            checkpoint.model,
            uses_language=self.needs.instruction,
            probe=self._processor.observations(self._probe(TILES[device or "cpu"])),
            device=device or "cpu",
        )
        scaled, size = self._processor.action, self._inference.chunk[1]
        if scaled is not None and len(scaled.offset) != size:
            raise SimScaleError(
                f"expected a model with actions of {len(scaled.offset)} numbers, as the checkpoint scales them, got "
                f"{size}; train the model again"
            )
        self.calls_at_once = calls_at_once(device) if device and self._inference.is_thread_safe else 1
        """How many threads may call `compute` at the same time, so that all cores of the device have work."""
        self._threads = ThreadPoolExecutor(self.calls_at_once) if self.calls_at_once > 1 else None
        self._memory = SlotMemory(self.outline)
        return_freed_memory()

    @property
    def outline(self) -> PolicyOutline:
        """What another process must know of this policy to let this process compute its actions."""
        return PolicyOutline(
            identity=self.identity,
            options=self.options,
            needs=self.needs,
            noise=self._inference.noise if self._inference.runs_tiles else None,
            draws_seeds=not self._inference.runs_tiles,
            chunk=self._inference.chunk,
        )

    @property
    def rows_at_once(self) -> int:
        """The most rows of one `compute`."""
        return self._inference.rows_at_once

    @property
    def action(self) -> ActionSpec:
        """What the checkpoint knows of its actions: their number, limits and meaning, but no names."""
        size, limit = self._inference.chunk[1], 1.0 if self._processor.action is None else math.inf
        return ActionSpec(
            names=tuple(str(number) for number in range(size)),
            low=(-limit,) * size,
            high=(limit,) * size,
            meaning=self.needs.action or "unknown",
        )

    def reset(self, slots: Slots, seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Store the instructions of new episodes and start their noise streams.

        Raises:
            SimScaleError: If the model cannot read an instruction.
        """
        self._inference.check_texts(instructions)
        self._memory.reset(slots, seeds, instructions)

    def predict(self, observation: Observation, slots: Slots) -> Chunks:
        """Return the next chunk of each slot, (n, H, A), in units of the environment."""
        from policies.learned.inference import repeatable_arithmetic

        parts = self._memory.rows(observation, slots).split(self.rows_at_once)
        with repeatable_arithmetic():
            chunks = self._threads.map(self.compute, parts) if self._threads else map(self.compute, parts)
            return np.concatenate(list(chunks))

    def compute(self, rows: Rows) -> Chunks:
        """Return the chunks (n, H, A) of at most `rows_at_once` rows: one call of the model.

        Raises:
            PolicyUnavailable: If the device fails, and not the model.
        """
        from policies.learned.inference import repeatable_arithmetic

        with repeatable_arithmetic():
            observations = self._processor.observations(rows.observation)
            try:
                chunks = self._inference.predict(observations, rows)
            except Exception as error:
                if self._inference.lacks_device(error):
                    raise PolicyUnavailable(f"the device of the policy fails: {exception_text(error)}") from error
                raise
            return self._to_environment(chunks)

    def close(self) -> None:
        """Free the model and the threads."""
        from torch import nn

        if self._threads:
            self._threads.shutdown()
        del self._inference
        self.checkpoint = replace(self.checkpoint, model=nn.Module())  # its training record is still of use
        return_freed_memory()

    def _to_environment(self, chunks: NDArray[np.float32]) -> Chunks:
        import torch

        actions = self._processor.inverse_actions(torch.from_numpy(chunks))
        if self._processor.action is None:  # trained on actions within [-1, 1]
            actions = np.where(np.isfinite(actions), np.clip(actions, -1.0, 1.0), actions)
        return actions

    def _probe(self, tile: int) -> Observation:
        """Return random observations, one tile, to probe the model with."""
        rng = np.random.default_rng(0)
        probe: Observation = {
            key: rng.normal(size=(tile, layout.size)).astype(np.float32) for key, layout in self.needs.vectors.items()
        }
        for camera, size in self.needs.cameras.items():
            probe[camera] = rng.integers(0, 256, (tile, *size, 3), dtype=np.uint8)
        return probe


def _execution_options(
    checkpoint: Checkpoint, n_action_steps: int | None, ensemble_decay: float | None, synchronous: bool
) -> Mapping[str, Any]:
    waits = {"synchronous": True} if synchronous else {}
    check_execution({"n_action_steps": n_action_steps, "ensemble_decay": ensemble_decay, **waits})
    if ensemble_decay is not None:
        return {"ensemble_decay": ensemble_decay}
    steps = checkpoint.n_action_steps if n_action_steps is None else n_action_steps
    horizon = int(getattr(checkpoint.model, "action_horizon", 1))
    if not 1 <= steps <= horizon:
        raise SimScaleError(f"expected n_action_steps of 1 to {horizon}, the length of the model's chunks; got {steps}")
    return {"n_action_steps": steps, **waits}
