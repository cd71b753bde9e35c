"""Rows: what a model computes the next chunk of a slot from, and the memory of the slots that they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.base import Slots
from simscaleai.contract import Needs, Observation

_NOISE_STREAM = 0x504F4C
"""Makes the noise independent of the environment's streams, which start from the same episode seed."""


class EpisodeNoise:
    """Random stream of one episode, from the episode's seed. Each call of the model makes one draw."""

    def __init__(self, seed: int) -> None:
        """Start the stream of the episode `seed`."""
        self._rng = np.random.default_rng([seed, _NOISE_STREAM])

    def normal(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return standard normal numbers of `shape`, float32."""
        return self._rng.standard_normal(shape, dtype=np.float32)

    def integer(self) -> int:
        """Return a random seed for another generator."""
        return int(self._rng.integers(2**63 - 1))


@dataclass(frozen=True, kw_only=True)
class PolicyOutline:
    """What a process must know of a learned policy whose weights another process holds."""

    identity: str
    options: Mapping[str, Any]
    needs: Needs
    noise: tuple[int, int] | None
    """Shape (steps + 1, H · A) of the noise of a row; None if the model takes no noise."""
    draws_seeds: bool
    """Whether a row holds a seed for torch's generator, because the model runs one row per call."""
    chunk: tuple[int, int]
    """Shape (H, A) of the chunk of a row."""


@dataclass(frozen=True)
class Rows:
    """The inputs of a model for n rows. A row holds all that its chunk depends on, so any process may compute it."""

    observation: Observation
    """Arrays with n rows, as the environment gives them."""
    texts: Sequence[str]
    """Instruction of each row."""
    noise: NDArray[np.float32] | None = None
    """Standard normal numbers (n, steps + 1, H · A); None if the model takes none."""
    seeds: NDArray[np.int64] | None = None
    """Seed of torch's generator for each row, (n,); None if the model runs in tiles."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.texts)

    def part(self, start: int, stop: int) -> Rows:
        """Return the rows from `start` to `stop`, without copying arrays."""
        return Rows(
            {key: values[start:stop] for key, values in self.observation.items()},
            self.texts[start:stop],
            None if self.noise is None else self.noise[start:stop],
            None if self.seeds is None else self.seeds[start:stop],
        )

    def split(self, size: int) -> Iterator[Rows]:
        """Yield the rows in parts of `size`; the last part may be smaller."""
        for start in range(0, len(self), size):
            yield self.part(start, start + size)


def joined(parts: Sequence[Rows]) -> Rows:
    """Return the rows of all `parts`, at least one, in their order."""
    first = parts[0]
    if len(parts) == 1:
        return first
    return Rows(
        {key: np.concatenate([part.observation[key] for part in parts]) for key in first.observation},
        [text for part in parts for text in part.texts],
        _joined([part.noise for part in parts]),
        _joined([part.seeds for part in parts]),
    )


def _joined(arrays: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    given = [array for array in arrays if array is not None]
    return np.concatenate(given) if given else None


class SlotMemory:
    """The memory of a learned policy: an instruction and a stream of noise for each slot."""

    def __init__(self, outline: PolicyOutline) -> None:
        """Start without episodes."""
        self._outline = outline
        self._streams: dict[int, EpisodeNoise] = {}
        self._instructions: dict[int, str] = {}

    def reset(self, slots: Slots, seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Store the instructions of new episodes and start their noise streams."""
        for slot, seed, instruction in zip(slots.tolist(), seeds, instructions, strict=True):
            self._streams[slot] = EpisodeNoise(seed)
            self._instructions[slot] = instruction

    def rows(self, observation: Observation, slots: Slots) -> Rows:
        """Return the inputs of the next call of the model for `slots`. Each stream advances by one draw."""
        shape, seeds, noise = self._outline.noise, None, None
        streams = [self._streams[slot] for slot in slots.tolist()]
        if self._outline.draws_seeds:
            seeds = np.array([stream.integer() for stream in streams], dtype=np.int64)
        elif shape is not None:
            noise = np.stack([stream.normal(shape) for stream in streams])
        return Rows(observation, [self._instructions[slot] for slot in slots.tolist()], noise, seeds)
