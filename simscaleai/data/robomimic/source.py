"""Reads the demonstrations of any robomimic file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from simscaleai.contract import ImageSize
from simscaleai.data.episode_file import DatasetError
from simscaleai.data.exchange.damage import reading
from simscaleai.data.exchange.hdf5 import child, dataset, numbers
from simscaleai.data.exchange.pixels import check_size, scaled
from simscaleai.data.exchange.source import SourceFeature
from simscaleai.data.keys import ACTION, IMAGE_PREFIX, image_key, vector_key
from simscaleai.data.robomimic.layout import IMAGE_SUFFIX
from simscaleai.json_data import parse_json

_STATE, _TRUTH = "state", "environment_state"
_DEMONSTRATION = re.compile(r"demo_(\d{1,9})")
_MOST_RATE = 10_000


@dataclass(frozen=True)
class Demonstration:
    """One demonstration of the file."""

    index: int
    """Number among the demonstrations, in the order of their numbers in the file."""
    source_index: int
    """Number in the file, N of `demo_N`."""
    length: int
    task: str
    first_frame: int = 0


class RobomimicSource:
    """An opened file: its demonstrations and their arrays, under the names that LeRobot uses.

    Vectors of `obs` are parts of observation.state, `object` is observation.environment_state, `X_image` is
    observation.images.X.
    """

    format = "robomimic HDF5"
    counters: frozenset[str] = frozenset()

    def __init__(self, path: Path, file: h5py.File, control_hz: int | None) -> None:
        """Read what the open `file` at `path` holds.

        Args:
            path: For messages.
            file: The file.
            control_hz: Steps per second; None if the file says it.

        Raises:
            DatasetError: If the file holds no demonstrations, is damaged, or does not say the rate.
        """
        self.folder = path
        with reading(path, "data"):
            self._data = child(file, "data")
            self.episodes = tuple(self._demonstrations())
            if not self.episodes:
                raise DatasetError(f"{path} holds no demonstration data/demo_0")
            self.robot_type, rate = _environment(self._data)
            self._paths = dict(self._features())
        self.features = {name: feature for name, (_, feature) in self._paths.items()}
        self.fps = self._rate(control_hz, rate)

    def read(self, episode: Demonstration, key: str, *, image_size: ImageSize | None = None) -> NDArray[Any]:
        """Return feature `key` of `episode`, images scaled to `image_size`. The first dimension is time.

        Raises:
            DatasetError: If it is missing or damaged.
        """
        path, feature = self._paths[key]
        with reading(self.folder, f"demo_{episode.source_index}"):
            values = numbers(self._group(episode), path, episode.length)
            if feature.dtype != "image":
                return values
            if values.dtype != np.uint8 or values.shape[3:] != (3,):
                raise ValueError(f"expected colour images at {path!r}, got {values.dtype} {values.shape}")
            check_size(*values.shape[1:3])
            return np.stack([scaled(image, image_size) for image in values])

    def image_size(self, key: str) -> ImageSize:
        """Return the height and width of the images of feature `key`."""
        height, width = dataset(self._group(self.episodes[0]), self._paths[key][0]).shape[1:3]
        return height, width

    def irregular_steps(self) -> int:
        """Return 0: the file has no times."""
        return 0

    def _group(self, episode: Demonstration) -> h5py.Group:
        return child(self._data, f"demo_{episode.source_index}")

    def _demonstrations(self) -> Iterator[Demonstration]:
        matches = [_DEMONSTRATION.fullmatch(name) for name in self._data]
        found = sorted(int(match[1]) for match in matches if match)
        for index, number in enumerate(found):
            group = child(self._data, f"demo_{number}")
            length = len(dataset(group, "actions"))
            if not length or int(group.attrs.get("num_samples", length)) != length:
                raise ValueError(f"demo_{number} has {length} actions, it says {group.attrs.get('num_samples')}")
            yield Demonstration(index, number, length, str(group.attrs.get("instruction", "")))

    def _features(self) -> Iterator[tuple[str, tuple[str, SourceFeature]]]:
        """Yield the name of each array of the first demonstration, its path and its description."""
        group = self._group(self.episodes[0])
        for name in group:
            if name not in ("actions", "obs", "next_obs") and isinstance(child(group, name), h5py.Dataset):
                yield name, (name, SourceFeature(dtype=str(dataset(group, name).dtype)))
        for name in child(group, "obs"):
            yield _observed(name, dataset(group, f"obs/{name}"))
        yield ACTION, ("actions", SourceFeature(dtype=str(dataset(group, "actions").dtype)))

    def _rate(self, given: int | None, stored: object) -> int:
        rate = given if given is not None else stored
        if isinstance(rate, int | float) and rate == int(rate) and 1 <= rate <= _MOST_RATE:
            return int(rate)
        raise DatasetError(
            f"{self.folder} does not say its steps per second (env_kwargs.control_freq is {rate}); add --control-hz, "
            f"a whole number from 1 to {_MOST_RATE}"
        )


def _observed(name: str, found: h5py.Dataset) -> tuple[str, tuple[str, SourceFeature]]:
    """Return our name of the observation `name`, its path and its description."""
    path = f"obs/{name}"
    if found.ndim == 4 and found.dtype == np.uint8 and found.shape[3] == 3:
        return image_key(name.removesuffix(IMAGE_SUFFIX)), (path, SourceFeature(dtype="image"))
    feature = SourceFeature(dtype=str(found.dtype))
    if found.ndim > 2:  # depth images and the like
        return IMAGE_PREFIX + name, (path, feature)
    if name in (_STATE, _TRUTH):
        return vector_key(name), (path, feature)
    return (vector_key(_TRUTH) if name == "object" else f"{vector_key(_STATE)}.{name}"), (path, feature)


def _environment(data: h5py.Group) -> tuple[str | None, object]:
    """Return the name of the environment and its steps per second, as far as the file says them."""
    text = data.attrs.get("env_args")
    if not isinstance(text, str | bytes):
        return None, None
    args = parse_json(text)
    name, kwargs = args.get("env_name"), args.get("env_kwargs")
    return name if isinstance(name, str) else None, kwargs.get("control_freq") if isinstance(kwargs, dict) else None
