"""Reads datasets: episodes as they were written, and steps across all episodes as one long table."""

from __future__ import annotations

import hashlib
import resource
from collections.abc import Sequence
from functools import cached_property, lru_cache, reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simscaleai.data.description import EpisodeRecord, read_description, read_index
from simscaleai.data.episode_file import Arrays, DatasetError, map_arrays, read_header
from simscaleai.data.joining import join_contracts
from simscaleai.data.statistics import VectorStatistics, compute_statistics, merge_statistics


class Dataset:
    """One or several dataset folders, read as one.

    Steps ("frames") of all episodes are numbered through in the order of the folders and of the episodes' index.
    Images stay in memory maps, of which a bounded number is open; vectors are small and are held in memory.
    """

    def __init__(self, folders: str | Path | Sequence[str | Path]) -> None:
        """Open `folders` and check that every listed episode is there and complete.

        Raises:
            DatasetError: If a folder holds no dataset or no episode, a file is damaged, or datasets do not join.
        """
        paths = [Path(folders)] if isinstance(folders, str | Path) else [Path(folder) for folder in folders]
        self.folders = tuple(paths)
        self._descriptions = [read_description(folder) for folder in paths]
        indices = [read_index(folder) for folder in paths]
        for folder, records in zip(paths, indices, strict=True):
            if not records:
                raise DatasetError(f"{folder} holds no finished episode")
        self.contract = join_contracts(
            {str(folder): description.contract for folder, description in zip(paths, self._descriptions, strict=True)}
        )
        """What observations and actions mean, as plain JSON data."""
        self.keys = frozenset.intersection(*(frozenset(description.features) for description in self._descriptions))
        """The arrays that every episode has."""
        self.episodes: tuple[EpisodeRecord, ...] = tuple(record for records in indices for record in records)
        self._paths = [
            folder / record.file for folder, records in zip(paths, indices, strict=True) for record in records
        ]
        self._headers = [read_header(path) for path in self._paths]
        self._check_headers()
        lengths = np.array([record.length for record in self.episodes])
        self.episode_ends = np.cumsum(lengths)
        """The frame after the last of each episode."""
        self.episode_of_frame = np.repeat(np.arange(len(lengths)), lengths)
        """Position in `episodes` of each frame's episode."""
        self._open = lru_cache(maxsize=_most_open_maps())(self._map_episode)

    @property
    def num_frames(self) -> int:
        """Steps of all episodes together."""
        return int(self.episode_ends[-1])

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the episodes' digests in order: what exactly was read."""
        return hashlib.sha256("\n".join(record.sha256 for record in self.episodes).encode()).hexdigest()

    @cached_property
    def statistics(self) -> dict[str, VectorStatistics]:
        """Statistics of each float vector that all episodes have; computed where a writer was not closed."""
        sources = [self._statistics_of(number) for number in range(len(self.folders))]
        shared = set.intersection(*(set(source) for source in sources)) & self.keys
        return {
            key: reduce(merge_statistics, [source[key] for source in sources])
            for key in sorted(shared)
            if len({len(source[key]["mean"]) for source in sources}) == 1
        }

    def episode(self, number: int) -> Arrays:
        """Return read-only views of all arrays of the episode at position `number` of `episodes`."""
        return dict(self._open(number))

    def frames_of(self, numbers: Sequence[int] | NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the frames of the episodes at positions `numbers`, ascending."""
        return np.flatnonzero(np.isin(self.episode_of_frame, numbers))

    def vectors(self, key: str) -> NDArray[Any]:
        """Return array `key` of all frames, shape (num_frames, ...), held in memory from the first call on."""
        if key not in self._vectors:
            if key not in self.keys:
                raise DatasetError(f"the dataset has no {key!r} in every episode; there are {sorted(self.keys)}")
            parts = [self._open(number)[key] for number in range(len(self.episodes))]
            self._vectors[key] = np.concatenate(parts)
        return self._vectors[key]

    def gather(self, key: str, frames: NDArray[np.intp]) -> NDArray[Any]:
        """Return array `key` at `frames`, shape (len(frames), ...), copied straight from the memory maps."""
        place = self._headers[0][key]
        gathered = np.empty((len(frames), *place.shape[1:]), place.dtype)
        episodes = self.episode_of_frame[frames]
        steps = frames - (self.episode_ends[episodes] - self._lengths[episodes])
        for row, (episode, step) in enumerate(zip(episodes.tolist(), steps.tolist(), strict=True)):
            gathered[row] = self._open(episode)[key][step]
        return gathered

    @cached_property
    def _vectors(self) -> Arrays:
        return {}

    @cached_property
    def _lengths(self) -> NDArray[np.intp]:
        return np.diff(self.episode_ends, prepend=0)

    def _map_episode(self, number: int) -> Arrays:
        return map_arrays(self._paths[number], self._headers[number])

    def _check_headers(self) -> None:
        for path, header, record in zip(self._paths, self._headers, self.episodes, strict=True):
            if not self.keys <= header.keys():
                raise DatasetError(f"{path} lacks {sorted(self.keys - header.keys())}")
            for key in self.keys:
                if header[key].shape[:1] != (record.length,):
                    raise DatasetError(f"{path} holds {key} {header[key].shape}, the index says {record.length} steps")

    def _statistics_of(self, source: int) -> dict[str, VectorStatistics]:
        folder, stored = self.folders[source], self._descriptions[source].statistics
        numbers = [i for i, path in enumerate(self._paths) if path.is_relative_to(folder)]
        frames = sum(self.episodes[i].length for i in numbers)
        if stored and all(entry["count"] == frames for entry in stored.values()):
            return stored
        return compute_statistics(self._open(i) for i in numbers)


def _most_open_maps() -> int:
    """Each map keeps a file descriptor: use at most half of what the process may have."""
    return int(min(4096, max(16, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)))
