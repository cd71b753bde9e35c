"""Writes a dataset so that a crash at any moment loses only the episode being written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simscaleai.data.description import (
    OWN_FIELDS,
    REQUIRED_METADATA,
    Description,
    EpisodeRecord,
    drop_cut_line,
    read_description,
    read_index,
    write_description,
)
from simscaleai.data.episode_file import Arrays, DatasetError, map_arrays, read_header, write_episode_file
from simscaleai.data.statistics import compute_statistics


class DatasetWriter:
    """Adds episodes to one dataset folder; episodes may come in any order.

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
            (self.folder / "episodes").mkdir(parents=True, exist_ok=True)
            self._description = given
            write_description(self.folder, given)
        self._finished = {record.episode_index for record in read_index(self.folder)}
        self._index = (self.folder / "episodes.jsonl").open("a")

    @property
    def finished(self) -> frozenset[int]:
        """Indices of the episodes that the dataset holds."""
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
        first = not self._description.features
        description = self._description.with_features_of(arrays) if first else self._description
        length = description.check(arrays)
        if first:
            write_description(self.folder, description)
            self._description = description
        file = f"episodes/episode_{episode_index:06d}.safetensors"
        digest = write_episode_file(self.folder / file, arrays)
        record = EpisodeRecord(
            episode_index=episode_index, file=file, length=length, sha256=digest, metadata=_as_json(metadata)
        )
        self._index.write(record.to_line())
        self._index.flush()
        self._finished.add(episode_index)
        return record

    def close(self) -> None:
        """Write the statistics, taken in the order of the episodes' index, and close the index."""
        if self._index.closed:
            return
        self._index.close()
        records = read_index(self.folder)
        if records:
            statistics = compute_statistics(self._arrays(record) for record in records)
            self._description = replace(self._description, statistics=statistics)
            write_description(self.folder, self._description)

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
            ours, theirs = getattr(given, name), getattr(existing, name)
            different = sorted(key for key in ours | theirs if ours.get(key) != theirs.get(key))
            if different:
                key = different[0]
                raise DatasetError(
                    f"{self.folder} has another {name}: {', '.join(different)} differs "
                    f"({key}: there {theirs.get(key)!r}, now {ours.get(key)!r}); choose another folder"
                )
        drop_cut_line(self.folder)
        return existing

    def _arrays(self, record: EpisodeRecord) -> Arrays:
        path = self.folder / record.file
        return map_arrays(path, read_header(path))


def _as_json(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return `data` as reading it back from JSON will give it: lists for tuples, plain numbers for NumPy's."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(data), default=_plain))
    return plain


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no JSON data")
