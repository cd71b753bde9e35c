"""Joins the shards of one collection to the whole dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from eval.episodes.plan import Shard
from eval.merging.shards import Part, check_parts, locked_shards
from simscaleai.data import DatasetError, DatasetWriter
from simscaleai.data.description import DESCRIPTION_FILE, Description, read_description
from simscaleai.data.episode_list import StoredEpisode, episode_file_name, read_discarded, read_episode_list
from simscaleai.errors import SimScaleError
from simscaleai.files import new_folder, read_file, replace_file
from simscaleai.json_data import read_checked

_SHARD = "shard"


@dataclass(frozen=True, kw_only=True)
class CollectedShard:
    """Which part of a collection a dataset holds, as its provenance records it."""

    number: int
    """Which shard, from 1 to `of`."""
    of: int
    """Number of shards."""
    episodes: int
    """Number of planned episodes of all shards."""

    def __post_init__(self) -> None:
        """Raise if there is no such shard."""
        if not 1 <= self.number <= self.of <= self.episodes:
            raise SimScaleError(f"shard {self.number}/{self.of} of {self.episodes} episodes is impossible")

    @classmethod
    def entry(cls, shard: Shard | None, episodes: int) -> dict[str, Any]:
        """Return what the provenance of a dataset with this shard of `episodes` episodes holds; nothing without one."""
        return {} if shard is None else {_SHARD: asdict(cls(number=shard.number, of=shard.of, episodes=episodes))}


@dataclass(frozen=True)
class MergedDataset:
    """Result of merging the shards of a collection."""

    kept: int
    """Number of episodes in the dataset."""
    discarded: int
    """Number of episodes that were run but not kept."""


def is_dataset(folder: Path) -> bool:
    """Return whether `folder` holds a dataset."""
    return (folder / DESCRIPTION_FILE).exists()


def merge_datasets(folders: Sequence[Path], output: Path, *, progress: bool = True) -> MergedDataset:
    """Write the dataset whose shards are in `folders` into the new or empty folder `output`.

    Its files are those of a collection that was not divided. After a failure, `output` is as it was before.

    Args:
        folders: Folders of all shards, in any order.
        output: Folder for the dataset.
        progress: Whether to show progress on a terminal.

    Raises:
        DatasetError: If a folder holds no shard of a collection, or a damaged one.
        ResultsError: If the folders are not all shards of one collection, each of them complete and once.
        SimScaleError: If `output` is not empty, or another process writes to one of the folders.
        OSError: If a folder cannot be read, or `output` cannot be written.
    """
    with new_folder(output) as whole, locked_shards(folders):
        parts = [_DatasetPart.read(folder) for folder in folders]
        check_parts([part.part for part in parts])
        description = parts[0].description
        with DatasetWriter(whole, description.needs, provenance=_without_shard(description.provenance)) as writer:
            kept = [(part, episode) for part in parts for episode in part.kept]
            for part, episode in tqdm(kept, unit="ep", disable=None if progress else True):
                part.copy(episode, writer)
            for part in parts:
                part.copy_discarded(writer)
    return MergedDataset(sum(len(part.kept) for part in parts), sum(len(part.discarded) for part in parts))


@dataclass(frozen=True, kw_only=True)
class _DatasetPart:
    """One shard of a collection that was read."""

    folder: Path
    description: Description
    kept: Sequence[StoredEpisode]
    discarded: Sequence[Mapping[str, Any]]
    """Metadata of the episodes that were run but not kept."""

    @classmethod
    def read(cls, folder: Path) -> _DatasetPart:
        return cls(
            folder=folder,
            description=read_description(folder),
            kept=read_episode_list(folder),
            discarded=read_discarded(folder),
        )

    @property
    def part(self) -> Part:
        """What is compared with other shards."""
        shard = self._shard()
        indices = [episode.episode_index for episode in self.kept]
        return Part(
            folder=self.folder,
            shard=Shard(number=shard.number, of=shard.of),
            conditions={
                "needs": self.description.needs.to_json(),
                "provenance": _without_shard(self.description.provenance),
                "episodes": shard.episodes,
            },
            indices=sorted([*indices, *(entry["episode_index"] for entry in self.discarded)]),
            planned=shard.episodes,
        )

    def _shard(self) -> CollectedShard:
        entry = self.description.provenance.get(_SHARD)
        if entry is None:
            raise DatasetError(
                f"expected a part of a collection that was made with --shard, got {self.folder}, which is a whole "
                "dataset; simscaleai.train takes several datasets"
            )
        try:
            return read_checked(CollectedShard, entry)
        except SimScaleError as error:
            raise DatasetError(f"the provenance of {self.folder} names no shard: {error}") from None

    def copy(self, episode: StoredEpisode, writer: DatasetWriter) -> None:
        """Add `episode` to another dataset.

        Raises:
            DatasetError: If its file is damaged.
            OSError: If its file is missing.
        """
        source = self.folder / episode.file
        replace_file(writer.folder / episode_file_name(episode.episode_index), read_file(source))
        copied = writer.adopt_episode(episode.metadata, episode.episode_index)
        if copied.sha256 != episode.sha256:
            raise DatasetError(f"{source} has changed since it was written; collect {self.folder} anew")

    def copy_discarded(self, writer: DatasetWriter) -> None:
        """Add what is known of discarded episodes to another dataset."""
        for entry in self.discarded:
            metadata = {key: value for key, value in entry.items() if key != "episode_index"}
            writer.discard_episode(metadata, entry["episode_index"])


def _without_shard(provenance: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in provenance.items() if key != _SHARD}
