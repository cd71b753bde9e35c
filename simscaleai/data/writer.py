"""Writes a dataset so that a crash at any moment loses only the episode that is being written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from simscaleai.contract import Needs
from simscaleai.data.description import DESCRIPTION_FILE, Description, read_description, write_description
from simscaleai.data.episode_file import DatasetError, arrays_in, map_file, read_header, write_episode_file
from simscaleai.data.episode_list import (
    DISCARDED_FILE,
    EPISODES_FILE,
    WRITER_FIELDS,
    StoredEpisode,
    check_metadata,
    episode_file_name,
    read_discarded,
    read_episode_list,
    remove_incomplete_line,
)
from simscaleai.data.keys import ACTION
from simscaleai.data.statistics import compute_statistics
from simscaleai.files import append_line, remove_partial_files, replace_file
from simscaleai.json_data import json_differences, parse_json, plain

_MOST_SHOWN = 4  # largest number of differences in a message


class DatasetWriter:
    """Adds episodes to one dataset folder. The finished dataset does not depend on the order of the calls.

    Example::

        with DatasetWriter("data/reach", spec.needs("state")) as writer:
            writer.write_episode(arrays, {"seed": 7, ...}, episode_index=0)
    """

    def __init__(
        self,
        folder: str | Path,
        needs: Needs,
        *,
        provenance: Mapping[str, Any] | None = None,
        resume: bool = False,
    ) -> None:
        """Create the dataset, or open an unfinished one.

        Args:
            folder: Folder of the dataset.
            needs: What the episodes contain: vectors, cameras, instruction, action, control rate, and the environments.
            provenance: How the demonstrations are made (policy, noise, base seed); JSON data, kept in `dataset.json`.
            resume: Add to the dataset in `folder`, which must have the same needs and provenance. If the folder
                holds no dataset, create it.

        Raises:
            DatasetError: If the folder holds a dataset and `resume` is False, or it has other needs or provenance.
        """
        self.folder = Path(folder)
        given = Description(needs=needs, provenance=plain(dict(provenance or {})))
        if (self.folder / DESCRIPTION_FILE).exists():
            self._description = self._open_existing(given, resume)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._description = given
            write_description(self.folder, given)
        (self.folder / "episodes").mkdir(exist_ok=True)
        self._finished = {episode.episode_index for episode in read_episode_list(self.folder)}
        self.num_episodes = len(self._finished)
        """Number of stored episodes."""
        self._finished.update(entry["episode_index"] for entry in read_discarded(self.folder))

    @property
    def finished(self) -> frozenset[int]:
        """Indices of the episodes that need not run again: the stored ones and the discarded ones."""
        return frozenset(self._finished)

    def write_episode(
        self, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any], episode_index: int
    ) -> StoredEpisode:
        """Add one episode.

        Args:
            arrays: Arrays by name, each with time as its first dimension. All episodes need the same names, types and
                shapes of a step, and the vectors and images must have the sizes that the needs say.
            metadata: `seed`, `environment`, `instruction`, `success`, and any other JSON data about the episode.
            episode_index: Number of the episode, unique in the dataset.

        Raises:
            DatasetError: If the dataset has an episode of this index, or the arrays or metadata do not fit.
        """
        self._check_new(metadata, episode_index)
        self._described(arrays).check(arrays)
        sha256 = write_episode_file(self.folder / episode_file_name(episode_index), arrays)
        return self._list_episode(arrays, metadata, episode_index, sha256)

    def adopt_episode(
        self, metadata: Mapping[str, Any], episode_index: int, sha256: str | None = None
    ) -> StoredEpisode:
        """Add an episode whose file `write_episode_file` has already written into the dataset folder.

        Args:
            metadata: As for `write_episode`.
            episode_index: Number of the episode, unique in the dataset; `episode_file_name` gives the path of its file.
            sha256: SHA-256 that `write_episode_file` returned; None to compute it from the file.

        Raises:
            DatasetError: As `write_episode`, or if the file is missing or damaged.
        """
        self._check_new(metadata, episode_index)
        path = self.folder / episode_file_name(episode_index)
        header = read_header(path)
        content = map_file(path)
        arrays = arrays_in(content, header)
        self._described(arrays).check(arrays)
        return self._list_episode(arrays, metadata, episode_index, sha256 or hashlib.sha256(content.data).hexdigest())

    def discard_episode(self, metadata: Mapping[str, Any], episode_index: int) -> None:
        """Record the metadata of an episode that was run but is not kept."""
        self._check_new(metadata, episode_index)
        line = json.dumps({"episode_index": episode_index} | plain(dict(metadata))) + "\n"
        append_line(self.folder / DISCARDED_FILE, line)
        self._finished.add(episode_index)

    def close(self) -> None:
        """Write the statistics, and sort the lists by the index of the episodes."""
        episodes = read_episode_list(self.folder)
        if episodes:
            replace_file(self.folder / EPISODES_FILE, "".join(episode.to_line() for episode in episodes))
            statistics = compute_statistics(self._arrays(episode) for episode in episodes)
            self._description = replace(self._description, statistics=statistics)
            write_description(self.folder, self._description)
        discarded = read_discarded(self.folder)
        if discarded:
            replace_file(self.folder / DISCARDED_FILE, "".join(json.dumps(entry) + "\n" for entry in discarded))

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            with suppress(Exception):  # it would hide `error`
                self.close()

    def _described(self, arrays: Mapping[str, NDArray[Any]]) -> Description:
        """Return the description with array types. If it has none yet, `arrays` of the first episode define them."""
        return self._description if self._description.array_types else self._description.with_types_of(arrays)

    def _list_episode(
        self, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any], episode_index: int, sha256: str
    ) -> StoredEpisode:
        """Append the line of an episode whose file is written and whose `arrays` are checked."""
        if not self._description.array_types:
            self._description = self._described(arrays)
            write_description(self.folder, self._description)
        episode = StoredEpisode(
            episode_index=episode_index,
            file=episode_file_name(episode_index),
            length=len(arrays[ACTION]),
            sha256=sha256,
            metadata=plain(dict(metadata)),
        )
        append_line(self.folder / EPISODES_FILE, episode.to_line())
        self._finished.add(episode_index)
        self.num_episodes += 1
        return episode

    def _check_new(self, metadata: Mapping[str, Any], episode_index: int) -> None:
        try:
            values = parse_json(json.dumps(plain(dict(metadata))))  # numbers that are not finite cannot be read again
        except ValueError as error:
            raise DatasetError(f"the metadata of episode {episode_index} is wrong: {error}") from None
        check_metadata(values, episode_index)
        reserved = [name for name in WRITER_FIELDS if name in metadata]
        if reserved:
            raise DatasetError(f"the metadata of episode {episode_index} must not name {', '.join(reserved)}")
        if episode_index in self._finished:
            raise DatasetError(f"{self.folder} already holds episode {episode_index}")

    def _open_existing(self, given: Description, resume: bool) -> Description:
        if not resume:
            raise DatasetError(f"{self.folder} already holds a dataset; add --resume or choose another folder")
        existing = read_description(self.folder)
        different = [
            *json_differences(existing.needs.to_json(), given.needs.to_json(), "needs"),
            *json_differences(existing.provenance, given.provenance, "provenance"),
        ]
        if different:
            more = f"; and {len(different) - _MOST_SHOWN} more" if len(different) > _MOST_SHOWN else ""
            listing = "; ".join(different[:_MOST_SHOWN]) + more
            raise DatasetError(f"cannot add to {self.folder}: {listing}; choose another folder")
        for name in (EPISODES_FILE, DISCARDED_FILE):
            remove_incomplete_line(self.folder / name)
        remove_partial_files(self.folder)
        remove_partial_files(self.folder / "episodes")
        return existing

    def _arrays(self, episode: StoredEpisode) -> Mapping[str, NDArray[Any]]:
        path = self.folder / episode.file
        return arrays_in(map_file(path), read_header(path))
