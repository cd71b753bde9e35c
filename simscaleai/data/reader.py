"""Reads datasets: episode by episode, or the steps of all episodes as one long table."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simscaleai.contract import Layout
from simscaleai.data.description import DESCRIPTION_FILE, ArrayType, Description, read_description
from simscaleai.data.episode_file import Arrays, DatasetError, arrays_in, map_file, read_header, read_into
from simscaleai.data.episode_list import StoredEpisode, read_episode_list
from simscaleai.data.joining import join_needs, shared_columns
from simscaleai.data.keys import vector_key
from simscaleai.data.statistics import VectorStatistics, compute_statistics, is_float_vector, merge_statistics


class Dataset:
    """One or several dataset folders, read as one.

    The steps of all episodes ("frames") are numbered consecutively, in the order of the folders and of the episodes'
    index. Images stay in memory maps, of which a limited number is open at a time. Vectors are held in memory.
    """

    def __init__(self, folders: str | Path | Sequence[str | Path]) -> None:
        """Open `folders` and check that the file of every listed episode is complete.

        Raises:
            DatasetError: If a folder holds no dataset or no episode, a file is damaged, or datasets cannot be joined.
        """
        paths = [folders] if isinstance(folders, str | Path) else list(folders)
        self._sources = [_Source.open(Path(folder)) for folder in paths]
        self.needs = join_needs({str(source.folder): source.description.needs for source in self._sources})
        """Vectors, cameras, instruction, action and control rate that all folders share, and all environments."""
        self.array_types = _shared_types([source.description for source in self._sources])
        """Types of the arrays that every folder has with the same type and layout."""
        self.episodes = tuple(episode for source in self._sources for episode in source.episodes)
        """The episodes, folder by folder, in the order of their index."""
        self._paths = [source.folder / episode.file for source in self._sources for episode in source.episodes]
        self._headers = [read_header(path) for path in self._paths]
        self._check_headers()
        lengths = np.array([episode.length for episode in self.episodes])
        self.episode_ends = np.cumsum(lengths)
        """Number of the first frame after each episode."""
        self.episode_of_frame = np.repeat(np.arange(len(lengths)), lengths)
        """Position in `episodes` of the episode of each frame."""
        self._starts = self.episode_ends - lengths
        self._vectors: Arrays = {}
        self._open = lru_cache(maxsize=_most_open_maps())(self._map_episode)

    @property
    def num_frames(self) -> int:
        """Number of steps of all episodes together."""
        return int(self.episode_ends[-1])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the needs and of the list of episodes, which contains the SHA-256 of every episode file."""
        lines = [json.dumps(self.needs.to_json()), *(episode.to_line() for episode in self.episodes)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def provenance(self) -> list[dict[str, Any]]:
        """How the demonstrations of each folder were made."""
        return [source.description.provenance for source in self._sources]

    @cached_property
    def statistics(self) -> dict[str, VectorStatistics]:
        """Statistics of each float vector that all episodes have; computed on first use if the writer stored none."""
        firsts = np.cumsum([0] + [len(source.episodes) for source in self._sources])
        found = [
            source.stored_statistics() or compute_statistics(self._open(first + i) for i in range(len(source.episodes)))
            for source, first in zip(self._sources, firsts.tolist(), strict=False)
        ]
        shared = [key for key in found[0] if key in self.array_types]
        return {key: reduce(merge_statistics, [statistics[key] for statistics in found]) for key in shared}

    def changed_files(self) -> list[Path]:
        """Return the episode files that are not the ones that were written, by the SHA-256 in `episodes.jsonl`.

        Reads all files, with one thread per core, since hashing needs no interpreter lock.
        """
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = list(pool.map(_sha256, self._paths))
        listed = zip(self._paths, self.episodes, found, strict=True)
        return [path for path, episode, sha256 in listed if sha256 != episode.sha256]

    def check_files(self) -> None:
        """Check that every episode file is the one that was written.

        Raises:
            DatasetError: Naming the first file that is not.
        """
        if changed := self.changed_files():
            raise DatasetError(
                f"{changed[0]} has changed since it was written: its SHA-256 is not that in episodes.jsonl "
                f"({len(changed)} of {len(self._paths)} files); copy them again or collect the dataset anew"
            )

    def episode(self, number: int) -> Arrays:
        """Return read-only views of all arrays of the episode at position `number` of `episodes`."""
        return dict(self._open(number))

    def frames_of(self, numbers: Sequence[int] | NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the frames of the episodes at positions `numbers`, ascending."""
        return np.flatnonzero(np.isin(self.episode_of_frame, numbers))

    def vectors(self, key: str) -> NDArray[Any]:
        """Return array `key` of all frames, shape (num_frames, ...). It stays in memory after the first call.

        Raises:
            DatasetError: If not every episode has this array, or a value in it is not finite.
        """
        if key not in self._vectors:
            if key not in self.array_types:
                raise DatasetError(f"the dataset has no {key!r} in every episode; there are {sorted(self.array_types)}")
            rows = self.rows(key)
            for path, own in zip(self._paths, np.split(rows, self.episode_ends[:-1]), strict=True):
                if own.dtype.kind == "f" and not np.isfinite(own).all():
                    raise DatasetError(f"{path} holds a value of {key} that is not finite; collect the episode anew")
            self._vectors[key] = rows
        return self._vectors[key]

    def rows(self, key: str) -> NDArray[Any]:
        """Return array `key` of all frames, shape (num_frames, ...), whatever its values are."""
        array_type = self.array_types[key]
        rows = np.empty((self.num_frames, *array_type.shape), array_type.dtype)
        for number, own in enumerate(np.split(rows, self.episode_ends[:-1])):
            self._read(number, key, 0, own)
        return rows

    @cached_property
    def positions(self) -> NDArray[np.float32]:
        """Positions [m] of objects, shape (num_frames, P).

        These are the features with unit "m" in privileged vectors that all folders define in the same way.
        """
        columns = {
            name: shared_columns([source.layout(name) for source in self._sources], unit="m")
            for name in self._sources[0].description.needs.privileged
        }
        found = [self._columns_of(vector_key(name), chosen) for name, chosen in columns.items() if chosen[0]]
        return np.concatenate(found, axis=1) if found else np.empty((self.num_frames, 0), dtype=np.float32)

    def gather(self, key: str, frames: NDArray[np.intp], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return array `key` at `frames`, shape (len(frames), ...), read from the files. Threads may call this at once.

        A file is opened for each frame. This takes half as long as a page fault in a memory map, and no number of
        episodes runs out of open files.

        Args:
            key: Name of the array.
            frames: Frames of the dataset, shape (N,).
            out: Array to read into, of the shape and type of the result, each row contiguous; a new one by default.
        """
        array_type = self.array_types[key]
        gathered = np.empty((len(frames), *array_type.shape), array_type.dtype) if out is None else out
        episodes = self.episode_of_frame[frames]
        steps = frames - self._starts[episodes]
        for row, (episode, step) in enumerate(zip(episodes.tolist(), steps.tolist(), strict=True)):
            self._read(episode, key, step, gathered[row : row + 1])
        return gathered

    def _read(self, episode: int, key: str, step: int, target: NDArray[Any]) -> None:
        """Read array `key` of an episode from `step` on, until `target` is full."""
        if target.nbytes:
            place, row_bytes = self._headers[episode][key], target.nbytes // len(target)
            read_into(self._paths[episode], place.start + step * row_bytes, target)

    def _columns_of(self, key: str, columns: Sequence[list[int]]) -> NDArray[np.float32]:
        """Return some columns of array `key` for all frames; `columns` has one list of columns per folder."""
        per_episode = [own for source, own in zip(self._sources, columns, strict=True) for _ in source.episodes]
        return np.concatenate([self._open(number)[key][:, own] for number, own in enumerate(per_episode)])

    def _map_episode(self, number: int) -> Arrays:
        return arrays_in(map_file(self._paths[number]), self._headers[number])

    def _check_headers(self) -> None:
        for path, header, episode in zip(self._paths, self._headers, self.episodes, strict=True):
            for key, array_type in self.array_types.items():
                if key not in header:
                    raise DatasetError(f"{path} lacks {key!r}, which dataset.json names")
                place, shape = header[key], (episode.length, *array_type.shape)
                if place.dtype != array_type.dtype or place.shape != shape:
                    raise DatasetError(
                        f"expected {key} as {array_type.dtype} {shape} in {path}, got {place.dtype} {place.shape}"
                    )


@dataclass(frozen=True)
class _Source:
    """One dataset folder."""

    folder: Path
    description: Description
    episodes: list[StoredEpisode]

    @classmethod
    def open(cls, folder: Path) -> _Source:
        source = cls(folder, read_description(folder), read_episode_list(folder))
        if not source.episodes:
            raise DatasetError(f"{folder} holds no finished episode")
        try:
            source.description.check_types()
        except DatasetError as error:
            raise DatasetError(f"{folder / DESCRIPTION_FILE} is damaged: {error}; collect the dataset anew") from None
        return source

    def layout(self, name: str) -> Layout:
        """Return the layout of the privileged vector `name`; an empty layout if there is no such vector."""
        layout = self.description.needs.vectors.get(name)
        return layout if layout is not None and layout.privileged else Layout(())

    def stored_statistics(self) -> dict[str, VectorStatistics] | None:
        """Return the statistics that the writer stored; None if they do not cover all listed episodes."""
        stored, frames = self.description.statistics, sum(episode.length for episode in self.episodes)
        for key, array_type in self.description.array_types.items():
            if is_float_vector(array_type.dtype, array_type.shape):
                found = stored.get(key, {"count": 0})
                if found["count"] != frames or len(found["mean"]) != array_type.shape[0]:
                    return None
        return stored


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shared_types(descriptions: Sequence[Description]) -> dict[str, ArrayType]:
    first, *others = descriptions
    return {
        key: array_type
        for key, array_type in first.array_types.items()
        if all(other.array_types.get(key) == array_type and other.layout(key) == first.layout(key) for other in others)
    }


def _most_open_maps() -> int:
    """Return the largest number of open memory maps. Each takes a file descriptor, and half of these stay free."""
    try:
        import resource
    except ImportError:  # Windows, where descriptors are not scarce
        return 4096
    return int(min(4096, max(16, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)))
