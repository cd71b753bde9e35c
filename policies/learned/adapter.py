"""`PolicyAdapter`, which turns a checkpoint into a policy.

    observation → processor → model.predict() → inverse of the processor → chunk

The `Processor` that prepared the training data also prepares the observations for the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from policies.base import Chunks, Observation, Policy, Slots
from policies.options import check_execution
from simscaleai.contract import ActionSpec
from simscaleai.errors import SimScaleError

if TYPE_CHECKING:
    from policies.learned.inference import EpisodeNoise
    from simscaleai.checkpoint import Checkpoint


class PolicyAdapter(Policy):
    """A learned policy. Its memory is an instruction and a stream of noise for each slot."""

    def __init__(
        self, checkpoint: Checkpoint, *, n_action_steps: int | None = None, ensemble_decay: float | None = None
    ) -> None:
        """Wrap a loaded checkpoint.

        Args:
            checkpoint: From `simscaleai.checkpoint.load_checkpoint`.
            n_action_steps: Actions of a chunk to execute before the next prediction; by default the checkpoint's value.
            ensemble_decay: Average overlapping chunks instead, with this decay per step.

        Raises:
            SimScaleError: If the chunk is shorter than `n_action_steps`, both options are given, or the parts of the
                checkpoint do not fit together.
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
        self.options = _execution_options(checkpoint, n_action_steps, ensemble_decay)
        self._processor = checkpoint.processor
        self._inference = RowInference(
            checkpoint.model, uses_language=self.needs.instruction, probe=self._processor.observations(self._probe())
        )
        scaled, size = self._processor.action, self._inference.action_size
        if scaled is not None and len(scaled.offset) != size:
            raise SimScaleError(
                f"expected a model with actions of {len(scaled.offset)} numbers, as the checkpoint scales them, got "
                f"{size}; train the model again"
            )
        self._streams: dict[int, EpisodeNoise] = {}
        self._instructions: dict[int, str] = {}

    @property
    def action(self) -> ActionSpec:
        """What the checkpoint knows of its actions: their number, limits and meaning, but no names."""
        size, limit = self._inference.action_size, 1.0 if self._processor.action is None else math.inf
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
        from policies.learned.inference import EpisodeNoise

        self._inference.check_texts(instructions)
        for slot, seed, instruction in zip(slots.tolist(), seeds, instructions, strict=True):
            self._streams[slot] = EpisodeNoise(seed)
            self._instructions[slot] = instruction

    def predict(self, observation: Observation, slots: Slots) -> Chunks:
        """Return the next chunk of each slot, (n, H, A), in units of the environment."""
        chunks = self._inference.predict(
            self._processor.observations(observation),
            [self._instructions[slot] for slot in slots.tolist()],
            [self._streams[slot] for slot in slots.tolist()],
        )
        return self._to_environment(chunks)

    def _to_environment(self, chunks: NDArray[np.float32]) -> Chunks:
        import torch

        actions = self._processor.inverse_actions(torch.from_numpy(chunks))
        if self._processor.action is None:  # trained on actions within [-1, 1]
            actions = np.where(np.isfinite(actions), np.clip(actions, -1.0, 1.0), actions)
        return actions

    def _probe(self) -> Observation:
        """Return random observations, one tile, to probe the model with."""
        from policies.learned.inference import TILE

        rng = np.random.default_rng(0)
        probe: Observation = {
            key: rng.normal(size=(TILE, layout.size)).astype(np.float32) for key, layout in self.needs.vectors.items()
        }
        for camera, size in self.needs.cameras.items():
            probe[camera] = rng.integers(0, 256, (TILE, *size, 3), dtype=np.uint8)
        return probe


def _execution_options(
    checkpoint: Checkpoint, n_action_steps: int | None, ensemble_decay: float | None
) -> Mapping[str, Any]:
    check_execution({"n_action_steps": n_action_steps, "ensemble_decay": ensemble_decay})
    if ensemble_decay is not None:
        return {"ensemble_decay": ensemble_decay}
    steps = checkpoint.n_action_steps if n_action_steps is None else n_action_steps
    horizon = int(getattr(checkpoint.model, "action_horizon", 1))
    if not 1 <= steps <= horizon:
        raise SimScaleError(f"expected n_action_steps of 1 to {horizon}, the length of the model's chunks; got {steps}")
    return {"n_action_steps": steps}
