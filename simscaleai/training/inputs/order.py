"""The order of the frames in training, and prefetching of batches.

Everything is a pure function of (seed, step), so a training that continues needs no stored position.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from enum import IntEnum
from functools import lru_cache
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")


class Stream(IntEnum):
    """Independent streams of random numbers under one seed."""

    ORDER = 0
    IMAGE_SHIFT = 1
    TORCH = 2
    SPLIT = 3
    VALIDATION = 4


def generator(seed: int, stream: Stream, position: int = 0) -> np.random.Generator:
    """Return the generator of one stream at one position (a step or an epoch)."""
    return np.random.default_rng([seed, int(stream), position])


def torch_seed(seed: int, stream: Stream, position: int = 0) -> int:
    """Return the seed for torch's generator at one position of a stream."""
    return int(generator(seed, stream, position).integers(2**63))


class EpochOrder:
    """Goes through all frames in a new random order in each epoch. A batch may contain frames of two epochs."""

    def __init__(self, frames: NDArray[np.intp], batch_size: int, seed: int) -> None:
        """Prepare the order of `frames`, shape (F,), F >= 1."""
        self._frames = frames
        self._batch_size = batch_size
        self._seed = seed
        self._permutation = lru_cache(maxsize=2)(self._permute)

    def __call__(self, step: int) -> NDArray[np.intp]:
        """Return the frames of the batch of `step`, shape (batch_size,)."""
        places = np.arange(step * self._batch_size, (step + 1) * self._batch_size)
        epochs, positions = np.divmod(places, len(self._frames))
        chosen = [self._permutation(int(epoch))[positions[epochs == epoch]] for epoch in np.unique(epochs)]
        batch: NDArray[np.intp] = self._frames[np.concatenate(chosen)]
        return batch

    def _permute(self, epoch: int) -> NDArray[np.intp]:
        return generator(self._seed, Stream.ORDER, epoch).permutation(len(self._frames))


def split_episodes(
    num_episodes: int, validation_fraction: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the episodes for training and those for validation, each in ascending order.

    A fraction above 0 holds out at least one episode. At least one episode always stays for training.
    """
    held_out = 0
    if validation_fraction > 0:
        held_out = min(max(1, round(validation_fraction * num_episodes)), num_episodes - 1)
    order = generator(seed, Stream.SPLIT).permutation(num_episodes)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def prefetch(make: Callable[[int], Item], steps: Iterable[int], depth: int = 3, threads: int = 1) -> Generator[Item]:
    """Yield `make(step)` for each step. Background threads prepare up to `depth` items ahead."""
    remaining = iter(steps)
    with ThreadPoolExecutor(threads, thread_name_prefix="batches") as pool:
        waiting: deque[Future[Item]] = deque(pool.submit(make, step) for step in islice(remaining, depth))
        while waiting:
            item = waiting.popleft().result()
            waiting.extend(pool.submit(make, step) for step in islice(remaining, 1))
            yield item
