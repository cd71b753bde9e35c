"""PolicyAdapter: turns a checkpoint into a policy.

    observation → processing → predict() → inverse → clip → chunk queue → action

What the model sees is prepared by the same `Processor` objects that prepared its training data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from envs.interface import ACTION_DIM, Contract, ObservationArrays
from policies.chunking import ChunkQueue, TemporalEnsemble
from simscaleai.errors import SimScaleError

if TYPE_CHECKING:
    from policies.inference import EpisodeNoise
    from simscaleai.checkpoint import Checkpoint


class PolicyAdapter:
    """A learned policy. Memory (chunk queue, noise stream, instruction) is per slot and cleared by `reset`."""

    def __init__(
        self, checkpoint: Checkpoint, *, n_action_steps: int | None = None, ensemble_decay: float | None = None
    ) -> None:
        """Wrap a loaded checkpoint.

        Args:
            checkpoint: From `simscaleai.checkpoint.load_checkpoint`.
            n_action_steps: Actions of a chunk to execute before the model looks again; by default the checkpoint's.
            ensemble_decay: Average overlapping chunks instead, with this decay per step; see `TemporalEnsemble`.

        Raises:
            SimScaleError: If the chunk is shorter than `n_action_steps`, or both options are given.
        """
        from policies.inference import RowInference

        self.checkpoint = checkpoint
        self.contract = Contract.from_json(checkpoint.contract)
        self._processor = checkpoint.processor
        self._inference = RowInference(
            checkpoint.model, uses_language=self.contract.language, probe=self._processor.observations(self._probe())
        )
        self._chunks = _make_chunks(checkpoint, n_action_steps, ensemble_decay)
        self.latest_chunks: dict[int, NDArray[np.float32]] = {}
        """Slot to the chunk that the model predicted last, (H, 4): all of it, however much is executed."""
        self.accepts_empty_instructions = False
        """Whether an empty instruction is meant, to learn whether the policy heeds it; otherwise it is refused."""
        self.accepts_constant_images = False
        """Whether images that show nothing are meant, to learn whether the policy looks; otherwise they are refused."""
        self._streams: dict[int, EpisodeNoise] = {}
        self._instructions: dict[int, str] = {}
        self._unseen: set[int] = set()

    def reset(self, env_ids: NDArray[np.intp], seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Forget the slots `env_ids` and start their noise streams.

        Raises:
            SimScaleError: If the policy uses language and an instruction is empty without being meant so.
        """
        from policies.inference import EpisodeNoise

        for slot, seed, instruction in zip(env_ids.tolist(), seeds, instructions, strict=True):
            if self.contract.language and not (instruction.strip() or self.accepts_empty_instructions):
                raise SimScaleError(f"the policy follows instructions, but the one of episode seed {seed} is empty")
            self._chunks.clear(slot)
            self._streams[slot] = EpisodeNoise(seed)
            self._instructions[slot] = instruction
            self._unseen.add(slot)

    def needs_observation(self, env_ids: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return which of the slots ask the model for a new chunk at the next `act`, (n,)."""
        return np.array([self._chunks.needs_chunk(slot) for slot in env_ids.tolist()], dtype=bool)

    def act(self, observation: ObservationArrays, env_ids: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the next action of each slot, (n, 4), within [-1, 1] unless the model's output is not finite."""
        asking = self.needs_observation(env_ids)
        if asking.any():
            self._look({key: rows[asking] for key, rows in observation.items()}, env_ids[asking].tolist())
        return np.stack([self._chunks.next_action(slot) for slot in env_ids.tolist()])

    def _look(self, observation: ObservationArrays, slots: list[int]) -> None:
        """Ask the model for the next chunks of `slots`, whose observations are the rows given."""
        self._check_images(observation, slots)
        chunks = self._inference.predict(
            self._processor.observations(observation),
            [self._instructions[slot] for slot in slots],
            [self._streams[slot] for slot in slots],
        )
        if chunks.shape[-1] != ACTION_DIM:
            raise SimScaleError(
                f"the model predicts {chunks.shape[-1]} numbers per action, the environment takes {ACTION_DIM}"
            )
        actions = self._to_environment(chunks)
        actions = np.where(np.isfinite(actions), np.clip(actions, -1.0, 1.0), actions)
        for slot, chunk in zip(slots, actions, strict=True):
            self.latest_chunks[slot] = chunk
            self._chunks.add(slot, chunk)

    def _to_environment(self, chunks: NDArray[np.float32]) -> NDArray[np.float32]:
        import torch

        return self._processor.inverse_actions(torch.from_numpy(chunks))

    def _check_images(self, observation: ObservationArrays, slots: list[int]) -> None:
        """Refuse, at an episode's first look, an image that shows nothing: a lens cap, an unset buffer."""
        if not self.contract.cameras or self.accepts_constant_images:
            return
        for row, slot in enumerate(slots):
            if slot not in self._unseen:
                continue
            self._unseen.discard(slot)
            image = observation["image"][row]
            for index, camera in enumerate(self.contract.cameras):
                view = image[..., 3 * index : 3 * index + 3]
                if view.min() == view.max():
                    raise SimScaleError(
                        f"the image of camera {camera!r} is constant ({view.min()}), the policy would act blindly; "
                        "check the rendering"
                    )

    def _probe(self) -> ObservationArrays:
        """Return random observations of one tile, within the contract, to probe the model with."""
        from policies.inference import TILE

        rng = np.random.default_rng(0)
        probe: ObservationArrays = {
            key: rng.normal(size=(TILE, layout.size)).astype(np.float32)
            for key, layout in self.contract.vectors.items()
        }
        if self.contract.cameras and self.contract.image_size:
            shape = (TILE, *self.contract.image_size, 3 * len(self.contract.cameras))
            probe["image"] = rng.integers(0, 256, shape, dtype=np.uint8)
        return probe


def _make_chunks(
    checkpoint: Checkpoint, n_action_steps: int | None, ensemble_decay: float | None
) -> ChunkQueue | TemporalEnsemble:
    if ensemble_decay is not None:
        if n_action_steps is not None:
            raise SimScaleError("choose either n_action_steps or ensemble_decay: an ensemble asks at every step")
        return TemporalEnsemble(ensemble_decay)
    steps = checkpoint.n_action_steps if n_action_steps is None else n_action_steps
    horizon = int(getattr(checkpoint.model, "action_horizon", 1))
    if not 1 <= steps <= horizon:
        raise SimScaleError(
            f"n_action_steps must be within 1 to {horizon}, the length of the model's chunks; got {steps}"
        )
    return ChunkQueue(steps)
