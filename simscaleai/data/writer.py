"""Writes a dataset so that a crash at any moment loses only the episode being written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simscaleai.data.description import (
    DISCARDED_FILE,
    INDEX_FILE,
    OWN_FIELDS,
    REQUIRED_METADATA,
    Description,
    EpisodeRecord,
    drop_cut_line,
    episode_file_name,
    read_description,
    read_discarded,
    read_index,
    write_description,
)
from simscaleai.data.episode_file import Arrays, DatasetError, map_arrays, read_header, write_episode_file
from simscaleai.data.statistics import compute_statistics
from simscaleai.files import append_line, remove_partial_files, replace_file


class DatasetWriter:
    """Adds episodes to one dataset folder; they may come in any order, and leave no trace of it in the end.

    Example::

        with DatasetWriter("data/reach", contract.to_json()) as writer:
            writer.write_episode(arrays, {"seed": 7, ...}, episode_index=0)
    """

    def __init__(
        self,
        folder: str | Path,
        contract: Mapping[str, Any],
        *,
        provenance: Mapping[str, Any] | None = None,
        resume: bool = False,
    ) -> None:
        """Create the dataset, or open an unfinished one.

        Args:
            folder: Where the dataset lies.
            contract: The environment's contract as plain JSON data.
            provenance: How the demonstrations are made (policy, noise, base seed); JSON data, kept in `dataset.json`.
            resume: Add to an existing dataset, which must have the same contract and provenance; without one, start.

        Raises:
            DatasetError: If a dataset is there without `resume`, or does not fit.
        """
        self.folder = Path(folder)
        given = Description(contract=_as_json(contract), provenance=_as_json(provenance or {}))
        if (self.folder / "dataset.json").exists():
            self._description = self._open_existing(given, resume)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._description = given
            write_description(self.folder, given)
        (self.folder / "episodes").mkdir(exist_ok=True)
        self._finished = {record.episode_index for record in read_index(self.folder)}
        self.num_episodes = len(self._finished)
        """Number of episodes that the dataset holds."""
        self._finished.update(entry["episode_index"] for entry in read_discarded(self.folder))

    @property
    def finished(self) -> frozenset[int]:
        """Indices of the episodes that need not be run again: those that the dataset holds, and those discarded."""
        return frozenset(self._finished)

    def write_episode(
        self, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any], episode_index: int
    ) -> EpisodeRecord:
        """Add one episode.

        Args:
            arrays: Dataset key to an array whose first dimension is time; the same keys, types and shapes in every
                episode, as the contract says.
            metadata: `seed`, `environment`, `instruction`, `success` and any other JSON data about the episode.
            episode_index: Its number in the plan.

        Raises:
            DatasetError: If the episode exists or does not fit the dataset.
        """
        self._check_new(metadata, episode_index)
        self._checked(arrays)
        write_episode_file(self.folder / episode_file_name(episode_index), arrays)
        return self.adopt_episode(metadata, episode_index)

    def adopt_episode(self, metadata: Mapping[str, Any], episode_index: int) -> EpisodeRecord:
        """Add an episode whose file is in its place already; otherwise like `write_episode`."""
        self._check_new(metadata, episode_index)
        file = episode_file_name(episode_index)
        path = self.folder / file
        description, length = self._checked(map_arrays(path, read_header(path)))
        if not self._description.features:
            write_description(self.folder, description)
            self._description = description
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        record = EpisodeRecord(
            episode_index=episode_index, file=file, length=length, sha256=digest, metadata=_as_json(metadata)
        )
        self._append(INDEX_FILE, record.to_line(), episode_index)
        self.num_episodes += 1
        return record

    def discard_episode(self, metadata: Mapping[str, Any], episode_index: int) -> None:
        """Note that an episode was run and is not kept, with what is known about it."""
        self._check_new(metadata, episode_index)
        line = json.dumps({"episode_index": episode_index} | _as_json(metadata)) + "\n"
        self._append(DISCARDED_FILE, line, episode_index)

    def close(self) -> None:
        """Write the statistics and bring the lists into the order of the episodes' index."""
        records = read_index(self.folder)
        if records:
            replace_file(self.folder / INDEX_FILE, "".join(record.to_line() for record in records).encode())
            statistics = compute_statistics(self._arrays(record) for record in records)
            self._description = replace(self._description, statistics=statistics)
            write_description(self.folder, self._description)
        discarded = read_discarded(self.folder)
        if discarded:
            lines = "".join(json.dumps(entry) + "\n" for entry in discarded)
            replace_file(self.folder / DISCARDED_FILE, lines.encode())

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, name: str, line: str, episode_index: int) -> None:
        append_line(self.folder / name, line)
        self._finished.add(episode_index)

    def _checked(self, arrays: Mapping[str, NDArray[Any]]) -> tuple[Description, int]:
        """Return the description, with features, that `arrays` fit, and their number of steps."""
        description = self._description
        if not description.features:
            description = description.with_features_of(arrays)
        return description, description.check(arrays)

    def _check_new(self, metadata: Mapping[str, Any], episode_index: int) -> None:
        missing = [name for name in REQUIRED_METADATA if name not in metadata]
        if missing:
            raise DatasetError(f"the metadata of episode {episode_index} lacks {', '.join(missing)}")
        reserved = [name for name in OWN_FIELDS if name in metadata]
        if reserved:
            raise DatasetError(f"the metadata of episode {episode_index} must not name {', '.join(reserved)}")
        if episode_index in self._finished:
            raise DatasetError(f"{self.folder} already holds episode {episode_index}")

    def _open_existing(self, given: Description, resume: bool) -> Description:
        if not resume:
            raise DatasetError(
                f"{self.folder} already holds a dataset; continue it with resume or choose another folder"
            )
        existing = read_description(self.folder)
        for name in ("contract", "provenance"):
            different = _differences(getattr(existing, name), getattr(given, name))
            if different:
                raise DatasetError(f"{self.folder} has another {name}: {'; '.join(different)}; choose another folder")
        for list_name in (INDEX_FILE, DISCARDED_FILE):
            drop_cut_line(self.folder / list_name)
        remove_partial_files(self.folder)
        remove_partial_files(self.folder / "episodes")
        return existing

    def _arrays(self, record: EpisodeRecord) -> Arrays:
        path = self.folder / record.file
        return map_arrays(path, read_header(path))


def _differences(there: Mapping[str, Any], now: Mapping[str, Any], above: str = "") -> list[str]:
    """Return one text for each entry that differs, also in dictionaries within."""
    found: list[str] = []
    for key in sorted(there.keys() | now.keys()):
        old, new = there.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += _differences(old, new, f"{above}{key}.")
        elif old != new:
            found.append(f"{above}{key} there {old!r:.80}, now {new!r:.80}")
    return found


def _as_json(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return `data` as reading it back from JSON will give it: lists for tuples, plain numbers for NumPy's."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(data), default=_plain))
    return plain


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no JSON data")
