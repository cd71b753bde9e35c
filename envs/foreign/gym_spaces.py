"""Observation and action spaces with the interface of Gymnasium: conversion to vectors, images and flat actions.

This file runs under Python 3.8 and imports NumPy alone. A process in another interpreter loads it by its path. It works
with the spaces of `gymnasium` and of its predecessor `gym`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

CHANNELS = (1, 3, 4)
"""Number of channels of an array that is an image. The fourth one (opacity) is dropped."""

SMALLEST_IMAGE = 8
"""Smallest height and width of an array that is an image [px]."""

_MOST_ITEM_BYTES = 16
_REWARD = struct.Struct("d")
_MOST_FLOAT32 = np.finfo(np.float32).max


class SetUpError(ValueError):
    """The environment cannot be evaluated, or the success rule does not fit it. The text is one line for the user."""


class EpisodeError(RuntimeError):
    """The environment broke its own specification in one episode. The text is one line."""


class Observed(NamedTuple):
    """One observation."""

    vectors: dict[str, np.ndarray]
    """Vectors by key, float32 (size,)."""
    places: dict[str, tuple[int, ...]]
    """Where the image of each camera lies in the state: its first byte, and its shape. See `image_in`."""
    state_bytes: int
    """Size of the state."""


def image_in(state: np.ndarray, place: Sequence[int]) -> np.ndarray:
    """Return the image at `place` of the bytes `state`, uint8 (height, width, 3), if possible without a copy.

    Raises:
        ValueError: If there is no image at this place.
    """
    first, *shape = place
    size = shape[0] * shape[1] * shape[2]
    if min(first, *shape) < 0 or first + size > len(state):
        raise ValueError(f"expected an image within {len(state)} bytes, got the place {place}")
    return rgb_image(state[first : first + size].reshape(shape))


class ObservationSpace:
    """Converts the observations of a Box or of a (nested) Dict of Boxes to vectors and images.

    A Box of uint8 with the shape of an image (height, width, 1, 3 or 4; or 1 or 3 channels first) is a camera. Every
    other Box is a vector, flattened to float32. The key of a Box is its path in the Dict, joined by dots. A Box that
    is not in a Dict has the key "state", or "pixels" if it is an image.
    """

    def __init__(self, space: Any) -> None:
        """Read `space`.

        Raises:
            SetUpError: If a part of the space is neither a Dict nor a Box, or cannot be represented.
        """
        self.vectors: dict[str, int] = {}
        """Key of each vector to its size."""
        self.cameras: dict[str, tuple[int, int]] = {}
        """Key of each camera to the height and width of its images [px]."""
        self._boxes: dict[str, _Box] = {}
        for path, box in _boxes(space, ()):
            self._add(path, box)

    def _add(self, path: tuple[str, ...], box: Any) -> None:
        is_image = _is_image(box)
        key = ".".join(path) or ("pixels" if is_image else "state")
        if key in self._boxes:
            raise SetUpError(f"two parts of the observation are called {key!r}; rename one of them")
        if is_image:
            height, width, _ = _channels_last(np.zeros(box.shape, dtype=np.uint8)).shape
            self.cameras[key] = (height, width)
        else:
            _check_vector(key, box)
            self.vectors[key] = int(np.prod(box.shape, dtype=np.int64))
        self._boxes[key] = _Box(key, path, box)

    @property
    def most_state_bytes(self) -> int:
        """Largest size of a state."""
        sizes = (box.size * (1 if key in self.cameras else _MOST_ITEM_BYTES) for key, box in self._boxes.items())
        return sum(sizes) + _REWARD.size

    def read(self, observation: Any, reward: float, state: np.ndarray) -> Observed:
        """Copy all parts of the observation, and the reward, as the environment gave them, to `state`.

        Args:
            observation: What the environment gave.
            reward: The reward.
            state: Bytes to write to, uint8 (`most_state_bytes`,) or more.

        Raises:
            EpisodeError: If the observation is not in the space, or not finite.
        """
        vectors: dict[str, np.ndarray] = {}
        places: dict[str, tuple[int, ...]] = {}
        end = 0
        for key, box in self._boxes.items():
            part = box.read(observation)
            if key in self.cameras:
                places[key] = (end, *part.shape)
            else:
                vectors[key] = box.vector(part)
            begin, end = end, end + part.nbytes
            state[begin:end] = part.reshape(-1).view(np.uint8)
        _REWARD.pack_into(state.data, end, reward)
        return Observed(vectors, places, end + _REWARD.size)


class _Box:
    """One part of an observation space."""

    def __init__(self, key: str, path: tuple[str, ...], box: Any) -> None:
        self._key, self._path, self._shape, self._is_image = key, path, tuple(box.shape), _is_image(box)
        self.size = int(np.prod(self._shape, dtype=np.int64))
        with np.errstate(over="ignore"):
            self._low, self._high = (np.asarray(each).astype(np.float32).reshape(-1) for each in (box.low, box.high))
        self._finite = np.maximum(self._low, -_MOST_FLOAT32), np.minimum(self._high, _MOST_FLOAT32)

    def read(self, observation: Any) -> np.ndarray:
        """Return this part of an observation, contiguous and of the right shape and kind."""
        array = np.asarray(_part(observation, self._path), order="C")
        if array.shape != self._shape or array.dtype.kind not in "fiub":
            raise EpisodeError(
                f"expected observation {self._key!r} of shape {self._shape}, "
                f"the environment gave {array.dtype} of shape {array.shape}"
            )
        if self._is_image and array.dtype != np.uint8:
            raise EpisodeError(f"expected observation {self._key!r} as uint8, the environment gave {array.dtype}")
        return array

    def vector(self, part: np.ndarray) -> np.ndarray:
        """Return a copy of what `read` returned, float32 (size,), after a check of its numbers."""
        with np.errstate(over="ignore"):
            vector = part.astype(np.float32).reshape(-1)
        low, high = self._finite
        if np.count_nonzero((vector >= low) & (vector <= high)) < self.size:  # a third of the time of all()
            self._refuse(vector)
        return vector

    def _refuse(self, vector: np.ndarray) -> None:
        if not np.isfinite(vector).all():
            raise EpisodeError(f"the environment gave an observation {self._key!r} that is not finite")
        place = int(np.flatnonzero((vector < self._low) | (vector > self._high))[0])
        raise EpisodeError(
            f"the environment gave an observation outside of its space: entry {place} of {self._key!r} is "
            f"{vector[place]:g}, not in [{self._low[place]:g}, {self._high[place]:g}]"
        )


class ActionSpace:
    """Converts actions, float32 (A,), to those of a Box of any shape and type."""

    def __init__(self, space: Any) -> None:
        """Read `space`.

        Raises:
            SetUpError: If the space is no Box, or is empty.
        """
        if not _is_a(space, "Box") or not np.prod(space.shape):
            raise SetUpError(
                f"expected actions in a Box, got {_short(space)}; wrap the environment so that an action is an array"
            )
        self._shape, self._dtype = tuple(space.shape), np.dtype(space.dtype)
        self._exact = tuple(np.asarray(bound, dtype=np.float64).reshape(-1) for bound in (space.low, space.high))
        self._bounds = tuple(bound.astype(np.float32) for bound in self._exact)
        self._is_rounded = any((bound != exact).any() for bound, exact in zip(self._bounds, self._exact))
        """Whether a bound lies between two numbers of float32, so that clipping in float32 is not enough."""
        self.low: list[float] = self._exact[0].tolist()
        """Smallest value of each entry."""
        self.high: list[float] = self._exact[1].tolist()
        """Largest value of each entry."""
        self.text = _short(space)
        """The space in words."""

    @property
    def names(self) -> list[str]:
        """Name of each entry of the flattened action."""
        if self._shape in ((), (1,)):
            return ["action"]
        return ["action." + ".".join(map(str, place)) for place in np.ndindex(*self._shape)]

    def clip(self, action: np.ndarray) -> np.ndarray:
        """Return the action that is executed, float32 (A,): clipped to the bounds."""
        return action.astype(np.float32).clip(*self._bounds)

    def write(self, executed: np.ndarray) -> np.ndarray:
        """Return the executed action as `step` of the environment takes it."""
        if self._is_rounded:
            executed = executed.astype(np.float64).clip(*self._exact)
        if self._dtype.kind in "iu":
            executed = np.rint(executed)
        return executed.astype(self._dtype).reshape(self._shape)


def _boxes(space: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each Box of `space` with its path."""
    if _is_a(space, "Box"):
        yield path, space
    elif _is_a(space, "Dict"):
        for key, part in space.spaces.items():
            if not isinstance(key, str) or not key:
                raise SetUpError(f"expected names as keys of the observation, got {key!r}")
            yield from _boxes(part, (*path, key))
    else:
        name = f"observation {'.'.join(path)!r}" if path else "the observation"
        raise SetUpError(
            f"expected {name} as a Box or a Dict of Boxes, got {_short(space)}; wrap the environment, "
            "for example with gymnasium.wrappers.FlattenObservation"
        )


def _is_a(space: Any, kind: str) -> bool:
    return any(each.__name__ == kind for each in type(space).__mro__)


def _part(observation: Any, path: tuple[str, ...]) -> Any:
    for place, key in enumerate(path):
        if not isinstance(observation, Mapping) or key not in observation:
            raise EpisodeError(f"the environment gave no observation {'.'.join(path[: place + 1])!r}")
        observation = observation[key]
    return observation


def _is_image(box: Any) -> bool:
    shape = tuple(box.shape)
    if len(shape) != 3 or box.dtype != np.uint8:
        return False
    if shape[2] in CHANNELS and min(shape[:2]) >= SMALLEST_IMAGE:
        return True
    return shape[0] in (1, 3) and min(shape[1:]) >= SMALLEST_IMAGE


def _check_vector(key: str, box: Any) -> None:
    if np.dtype(box.dtype).kind not in "fiub":
        raise SetUpError(f"expected observation {key!r} as numbers, got {box.dtype}")
    if not np.prod(box.shape):
        raise SetUpError(f"observation {key!r} is empty (shape {tuple(box.shape)}); leave it out")
    if len(box.shape) > 2 and min(sorted(box.shape)[-2:]) >= SMALLEST_IMAGE:
        raise SetUpError(
            f"observation {key!r}, {_short(box)}, looks like images; expected an image as uint8 of shape "
            "(height, width, 1, 3 or 4) or (1 or 3, height, width)"
        )


def rgb_image(array: np.ndarray) -> np.ndarray:
    """Return an image as uint8 (height, width, 3), if possible without a copy."""
    image = _channels_last(array)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image[:, :, :3]


def _channels_last(array: np.ndarray) -> np.ndarray:
    return array if array.shape[2] in CHANNELS else np.moveaxis(array, 0, 2)


def _short(space: Any) -> str:
    """Return the space in words, without the values of long bounds."""
    if not _is_a(space, "Box"):
        return type(space).__name__
    ends = [np.unique(np.asarray(bound)) for bound in (space.low, space.high)]
    low, high = ("…" if len(values) != 1 else f"{values[0]:g}" for values in ends)
    return f"Box({low}, {high}, {tuple(space.shape)}, {np.dtype(space.dtype)})"
