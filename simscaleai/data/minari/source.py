"""Reads the episodes of any Minari dataset in HDF5, with Minari's own storage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from gymnasium.envs.registration import EnvSpec
from minari.dataset.minari_storage import MinariStorage
from numpy.typing import NDArray

from simscaleai.contract import ImageSize
from simscaleai.data.episode_file import DatasetError
from simscaleai.data.exchange.damage import reading
from simscaleai.data.exchange.hdf5 import check_all
from simscaleai.data.exchange.pixels import check_size, scaled
from simscaleai.data.exchange.source import SourceFeature
from simscaleai.data.keys import ACTION, IMAGE_PREFIX, image_key, vector_key
from simscaleai.data.minari.layout import DATA, HDF5_PATH, METADATA_PATH
from simscaleai.files import file_size, read_file
from simscaleai.json_data import parse_json

_STATE, _TRUTH = "state", "environment_state"
_MOST_BYTES = 2**28
_MOST_RATE = 10_000

Values = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class MinariEpisode:
    """One episode of the dataset."""

    index: int
    length: int
    task: str
    first_frame: int = 0

    @property
    def source_index(self) -> int:
        """Number of the episode in the dataset."""
        return self.index


def open_storage(folder: Path) -> tuple[MinariStorage, dict[str, Any]]:
    """Open the Minari dataset in `folder` and return its storage and `metadata.json`.

    Minari follows links out of the file, and runs the environment if the spaces are missing. Both are refused.

    Raises:
        DatasetError: If there is no dataset, or it is damaged or of another format.
    """
    path = folder / METADATA_PATH
    if not path.exists():
        raise DatasetError(f"{folder} is no Minari dataset: it has no {METADATA_PATH}")
    with reading(path):
        metadata = parse_json(read_file(path, _MOST_BYTES))
        if metadata["data_format"] != "hdf5":
            raise DatasetError(f"{folder} is stored as {metadata['data_format']}, this version reads hdf5 of Minari")
        if not {"observation_space", "action_space"} <= metadata.keys():
            raise ValueError("it does not say its spaces")
    with reading(folder / HDF5_PATH):
        file_size(folder / HDF5_PATH)  # also refuses pipes and devices
        with h5py.File(folder / HDF5_PATH, "r") as file:
            check_all(file)
        return MinariStorage.read(folder / DATA), metadata


class MinariSource:
    """An opened dataset: its episodes and their arrays, under the names that LeRobot uses.

    Vectors of the observation are parts of observation.state, images X are observation.images.X.
    """

    format = "Minari"
    counters: frozenset[str] = frozenset()

    def __init__(self, folder: Path, control_hz: int | None) -> None:
        """Open `folder`; `control_hz` are the steps per second, which Minari does not store.

        Raises:
            DatasetError: If the folder holds no Minari dataset, it is damaged, or `control_hz` is missing.
        """
        self.folder = folder
        self._storage, metadata = open_storage(folder)
        if control_hz is None or not 1 <= control_hz <= _MOST_RATE:
            raise DatasetError(
                f"{folder}: Minari does not store the steps per second; add --control-hz, from 1 to {_MOST_RATE}"
            )
        self.fps = control_hz
        self._arrays = lru_cache(maxsize=1)(self._read)
        with reading(folder / HDF5_PATH):
            self.robot_type = EnvSpec.from_json(metadata["env_spec"]).id if "env_spec" in metadata else None
            self.episodes = tuple(self._episodes(metadata["total_episodes"]))
            if not self.episodes:
                raise DatasetError(f"{folder} holds no episode")
            self.features = {name: _feature(name, values) for name, values in self._arrays(0).items()}

    def read(self, episode: MinariEpisode, key: str, *, image_size: ImageSize | None = None) -> NDArray[Any]:
        """Return feature `key` of `episode`, images scaled to `image_size`. The first dimension is time.

        Raises:
            DatasetError: If it is missing or damaged.
        """
        with reading(self.folder, f"episode {episode.index}, {key}"):
            values = self._arrays(episode.index)[key]
            if self.features[key].dtype != "image":
                return values
            if values.dtype != np.uint8 or values.shape[3:] != (3,):
                raise ValueError(f"expected colour images, got {values.dtype} {values.shape}")
            check_size(*values.shape[1:3])
            return np.stack([scaled(image, image_size) for image in values])

    def image_size(self, key: str) -> ImageSize:
        """Return the height and width of the images of feature `key`."""
        height, width = self._arrays(0)[key].shape[1:3]
        return height, width

    def irregular_steps(self) -> int:
        """Return 0: Minari stores no times."""
        return 0

    def _episodes(self, count: int) -> Iterator[MinariEpisode]:
        for index, metadata in enumerate(self._storage.get_episode_metadata(range(count))):
            options = metadata.get("options")
            task = options.get("instruction", "") if isinstance(options, dict) else ""
            yield MinariEpisode(index, int(metadata["total_steps"]), str(task))

    def _read(self, index: int) -> Values:
        """Return all arrays of an episode by name, each of its length."""
        (episode,) = self._storage.get_episodes([index])
        length = self.episodes[index].length
        found = {name: np.asarray(episode[name]) for name in ("rewards", "terminations", "truncations")}
        found |= {f"infos.{name}": values for name, values in _flat(episode["infos"] or {})}
        observed = episode["observations"]
        named = _flat(observed) if isinstance(observed, dict) else [(_STATE, np.asarray(observed))]
        found |= {_observed(name, values): values for name, values in named}
        found[ACTION] = np.asarray(episode["actions"])
        arrays = {name: values for name, values in found.items() if values.dtype.kind in "fiub" and values.ndim}
        for name in (ACTION, *(name for name in arrays if name.startswith(vector_key("")))):
            if name not in arrays or len(arrays[name]) not in (length, length + (name != ACTION)):
                raise ValueError(f"{name} does not have {length} steps")
        return {name: values[:length] for name, values in arrays.items()}


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the arrays of nested dictionaries with names such as `outer.inner`."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, np.asarray(value)


def _observed(name: str, values: NDArray[Any]) -> str:
    """Return our name of the observation `name`."""
    if values.ndim > 2:
        return image_key(name)
    return vector_key(name) if name in (_STATE, _TRUTH) else f"{vector_key(_STATE)}.{name}"


def _feature(name: str, values: NDArray[Any]) -> SourceFeature:
    is_image = name.startswith(IMAGE_PREFIX) and values.dtype == np.uint8 and values.shape[3:] == (3,)
    return SourceFeature(dtype="image" if is_image else str(values.dtype))
