"""Reads datasets: episodes as they were written, and steps across all episodes as one long table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simscaleai.data.description import Description, EpisodeRecord, Feature, read_description, read_index
from simscaleai.data.episode_file import Arrays, DatasetError, map_arrays, read_header
from simscaleai.data.joining import join_contracts, shared_columns
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
        paths = [folders] if isinstance(folders, str | Path) else list(folders)
        self._sources = [_Source.open(Path(folder)) for folder in paths]
        self.contract = join_contracts({str(source.folder): source.description.contract for source in self._sources})
        """What observations and actions mean, as plain JSON data."""
        self.features = _shared_features([source.description for source in self._sources])
        """The arrays that mean the same in every episode."""
        self.episodes = tuple(record for source in self._sources for record in source.records)
        """The episodes, folder by folder, by their index."""
        self._paths = [source.folder / record.file for source in self._sources for record in source.records]
        self._headers = [read_header(path) for path in self._paths]
        self._check_headers()
        lengths = np.array([record.length for record in self.episodes])
        self.episode_ends = np.cumsum(lengths)
        """The frame after the last of each episode."""
        self.episode_of_frame = np.repeat(np.arange(len(lengths)), lengths)
        """Position in `episodes` of each frame's episode."""
        self._starts = self.episode_ends - lengths
        self._vectors: Arrays = {}
        self._open = lru_cache(maxsize=_most_open_maps())(self._map_episode)

    @property
    def num_frames(self) -> int:
        """Steps of all episodes together."""
        return int(self.episode_ends[-1])

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the contract and the episodes' lines, which hold their files' digests: what exactly was read."""
        lines = [json.dumps(self.contract, sort_keys=True), *(record.to_line() for record in self.episodes)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def provenance(self) -> list[dict[str, Any]]:
        """How the demonstrations of each folder were made."""
        return [source.description.provenance for source in self._sources]

    @cached_property
    def statistics(self) -> dict[str, VectorStatistics]:
        """Statistics of each float vector that all episodes have; computed where a writer was not closed."""
        firsts = np.cumsum([0] + [len(source.records) for source in self._sources])
        parts = [
            source.stored_statistics() or compute_statistics(self._open(first + i) for i in range(len(source.records)))
            for source, first in zip(self._sources, firsts.tolist(), strict=False)
        ]
        shared = [key for key in parts[0] if key in self.features]
        return {key: reduce(merge_statistics, [part[key] for part in parts]) for key in shared}

    def episode(self, number: int) -> Arrays:
        """Return read-only views of all arrays of the episode at position `number` of `episodes`."""
        return dict(self._open(number))

    def frames_of(self, numbers: Sequence[int] | NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the frames of the episodes at positions `numbers`, ascending."""
        return np.flatnonzero(np.isin(self.episode_of_frame, numbers))

    def vectors(self, key: str) -> NDArray[Any]:
        """Return array `key` of all frames, shape (num_frames, ...), held in memory from the first call on."""
        if key not in self._vectors:
            if key not in self.features:
                raise DatasetError(f"the dataset has no {key!r} in every episode; there are {sorted(self.features)}")
            parts = [self._open(number)[key] for number in range(len(self.episodes))]
            for path, part in zip(self._paths, parts, strict=True):
                if part.dtype.kind == "f" and not np.isfinite(part).all():
                    raise DatasetError(f"{path} holds a value of {key} that is not finite; collect the episode anew")
            self._vectors[key] = np.concatenate(parts)
        return self._vectors[key]

    @cached_property
    def positions(self) -> NDArray[np.float32]:
        """Positions [m] in `observation.environment_state` that all folders name alike, shape (num_frames, P)."""
        layouts = [source.description.contract.get("environment_state") or [] for source in self._sources]
        columns = shared_columns(layouts, unit="m")
        if not columns[0]:
            return np.empty((self.num_frames, 0), dtype=np.float32)
        chosen = [own for source, own in zip(self._sources, columns, strict=True) for _ in source.records]
        return np.concatenate([self._open(n)["observation.environment_state"][:, own] for n, own in enumerate(chosen)])

    def gather(self, key: str, frames: NDArray[np.intp]) -> NDArray[Any]:
        """Return array `key` at `frames`, shape (len(frames), ...), copied straight from the memory maps."""
        feature = self.features[key]
        gathered = np.empty((len(frames), *feature.shape), feature.dtype)
        episodes = self.episode_of_frame[frames]
        steps = frames - self._starts[episodes]
        for row, (episode, step) in enumerate(zip(episodes.tolist(), steps.tolist(), strict=True)):
            gathered[row] = self._open(episode)[key][step]
        return gathered

    def _map_episode(self, number: int) -> Arrays:
        return map_arrays(self._paths[number], self._headers[number])

    def _check_headers(self) -> None:
        for path, header, record in zip(self._paths, self._headers, self.episodes, strict=True):
            for key, feature in self.features.items():
                if key not in header:
                    raise DatasetError(f"{path} lacks {key!r}, which dataset.json promises")
                place, shape = header[key], (record.length, *feature.shape)
                if place.dtype != feature.dtype or place.shape != shape:
                    raise DatasetError(f"{path} holds {key} {place.dtype} {place.shape}, not {feature.dtype} {shape}")


@dataclass(frozen=True)
class _Source:
    """One folder."""

    folder: Path
    description: Description
    records: list[EpisodeRecord]

    @classmethod
    def open(cls, folder: Path) -> _Source:
        source = cls(folder, read_description(folder), read_index(folder))
        if not source.records:
            raise DatasetError(f"{folder} holds no finished episode")
        return source

    def stored_statistics(self) -> dict[str, VectorStatistics] | None:
        """Return the writer's statistics, unless episodes came or went since."""
        stored, frames = self.description.statistics, sum(record.length for record in self.records)
        return stored if stored and all(entry["count"] == frames for entry in stored.values()) else None


def _shared_features(descriptions: Sequence[Description]) -> dict[str, Feature]:
    first, *others = (description.features for description in descriptions)
    return {key: feature for key, feature in first.items() if all(other.get(key) == feature for other in others)}


def _most_open_maps() -> int:
    """Each map keeps a file descriptor: use at most half of what the process may have."""
    try:
        import resource
    except ImportError:  # Windows, where descriptors are not scarce
        return 4096
    return int(min(4096, max(16, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)))
