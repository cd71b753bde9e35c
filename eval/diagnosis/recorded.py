"""`Sample`, steps of recorded episodes at which a policy is asked, and `Answers`, what it answered there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simscaleai.contract import Needs, Observation
from simscaleai.data import Dataset
from simscaleai.data.keys import ACTION, image_key, vector_key

SLOTS = 8
"""Number of slots of the policy. It is the tile of a learned policy."""

Rows = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Steps of recorded episodes at which a policy is asked, one row for each; N rows."""

    dataset: Dataset
    frames: Rows
    """Frame of the dataset that each row looks at, (N,), ascending."""
    keeps_memory: bool
    """Whether the rows of an episode are asked in order after one reset. Otherwise every row follows a reset."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.frames)

    @cached_property
    def episodes(self) -> Rows:
        """Number of the episode of each row, (N,)."""
        return self.dataset.episode_of_frame[self.frames]

    @property
    def instructions(self) -> list[str]:
        """Instruction of each row."""
        return [str(self.dataset.episodes[number].metadata["instruction"]) for number in self.episodes.tolist()]

    @property
    def seeds(self) -> list[int]:
        """Seed of each row: that of its episode, or the number of the episode if its seed is unknown."""
        known = [self.dataset.episodes[number].metadata["seed"] for number in self.episodes.tolist()]
        return [number if seed is None else seed for number, seed in zip(self.episodes.tolist(), known, strict=True)]

    @property
    def calls(self) -> list[list[Rows]]:
        """Rows of each call of the policy. Each inner list begins with a reset of all of its slots."""
        if not self.keeps_memory:
            return [[rows] for rows in np.split(np.arange(len(self)), range(SLOTS, len(self), SLOTS))]
        numbers = np.unique(self.episodes)
        return [_in_turns(self.episodes, numbers[first : first + SLOTS]) for first in range(0, len(numbers), SLOTS)]

    def slots(self, rows: Rows) -> Rows:
        """Return the slot of each of `rows` of one call."""
        if not self.keeps_memory:
            return np.arange(len(rows))
        return np.searchsorted(np.unique(self.episodes), self.episodes[rows]) % SLOTS

    def only(self, episodes: Rows) -> Sample:
        """Return the rows of some episodes, given by number."""
        return replace(self, frames=self.frames[np.isin(self.episodes, episodes)])

    def observation(self, needs: Needs, rows: Rows) -> Observation:
        """Return the recorded observations of `rows` as a policy with `needs` gets them.

        Images are scaled to the size that the policy asks for.
        """
        steps = np.arange(1 - needs.history, 1)
        firsts = (self.dataset.episode_ends - [each.length for each in self.dataset.episodes])[self.episodes[rows]]
        frames = np.maximum(self.frames[rows, None] + steps, firsts[:, None])  # the first one fills the window
        observed = {key: self._gather(vector_key(key), frames) for key in needs.vectors}
        for camera, size in needs.cameras.items():
            observed[camera] = scaled(self._gather(image_key(camera), frames), size)
        return observed if needs.history > 1 else {key: values[:, 0] for key, values in observed.items()}

    def vector(self, key: str) -> NDArray[np.float64]:
        """Return array `key` of the dataset at each row, (N, size)."""
        return self.dataset.gather(key, self.frames).astype(np.float64)

    def actions(self, offset: int) -> NDArray[np.float64]:
        """Return the recorded action `offset` steps after each row, (N, A); NaN outside of the episode."""
        recorded = self.dataset.vectors(ACTION)
        frames = np.clip(self.frames + offset, 0, self.dataset.num_frames - 1)
        outside = self.dataset.episode_of_frame[frames] != self.episodes
        outside |= frames != self.frames + offset
        return np.where(outside[:, None], np.nan, recorded[frames].astype(np.float64))

    def _gather(self, key: str, frames: Rows) -> NDArray[Any]:
        values = self.dataset.gather(key, frames.reshape(-1))
        return values.reshape(*frames.shape, *values.shape[1:])


def _in_turns(episodes: Rows, numbers: Rows) -> list[Rows]:
    """Return the first row of each of the episodes `numbers`, then the second rows, and so on."""
    rows_of = [np.flatnonzero(episodes == number) for number in numbers]
    longest = max(map(len, rows_of))
    return [np.array([rows[turn] for rows in rows_of if turn < len(rows)]) for turn in range(longest)]


def scaled(images: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return `images` (..., height, width, 3) scaled to `size`, height and width."""
    if images.shape[-3:-1] == size:
        return images
    from PIL import Image

    height, width = size
    flat = images.reshape(-1, *images.shape[-3:])
    drawn = [np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX)) for image in flat]
    return np.stack(drawn).reshape(*images.shape[:-3], height, width, 3)


def spread_frames(dataset: Dataset, episodes: Iterable[int], steps: int) -> Rows:
    """Return up to `steps` frames of each of `episodes`, spread evenly from its first to its last step."""
    frames = []
    for number in episodes:
        length, end = dataset.episodes[number].length, int(dataset.episode_ends[number])
        frames.append(np.unique(np.linspace(end - length, end - 1, min(steps, length)).round().astype(np.intp)))
    return np.concatenate(frames)


def every_nth_frame(dataset: Dataset, episodes: Iterable[int], stride: int) -> Rows:
    """Return the frames 0, `stride`, 2 · `stride`, … of each of `episodes`."""
    ends = [(int(dataset.episode_ends[number]), dataset.episodes[number].length) for number in episodes]
    return np.concatenate([np.arange(end - length, end, stride) for end, length in ends])


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a policy answered at the rows of a sample, and with which recorded actions that is compared."""

    sample: Sample
    chunks: NDArray[np.float64]
    """Predicted actions, (N, H, A)."""
    executed: int
    """Number of actions of a chunk that are executed, and so compared; 1 … H."""
    shift: int = 0
    """Action h of a chunk is compared with the recorded action `h + shift` steps after the row."""

    def differences(self, scale: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return |predicted − recorded| / `scale`, (N, executed, A); NaN where nothing is recorded."""
        recorded = np.stack([self.sample.actions(self.shift + h) for h in range(self.executed)], axis=1)
        return np.abs(self.chunks[:, : self.executed] - recorded) / scale

    def errors(self, scale: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean error of each episode in units of `scale`, in the order of the episodes, (E,)."""
        rows = means(self.differences(scale).reshape(len(self.sample), -1))
        numbers = np.unique(self.sample.episodes)
        return np.array([means(rows[self.sample.episodes == number]) for number in numbers])


def means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the last axis of the values that are not NaN; NaN if there is none."""
    known = ~np.isnan(values)
    count = known.sum(-1)
    total = np.where(known, values, 0.0).sum(-1)
    return np.asarray(np.where(count, total / np.maximum(count, 1), np.nan))
