"""`episodes.jsonl` and `discarded.jsonl`: which episodes a dataset holds, and which were run but not kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from simscaleai.data.episode_file import DatasetError
from simscaleai.errors import SimScaleError
from simscaleai.files import complete_lines, replace_file
from simscaleai.json_data import DAMAGE, damage_text, is_of_type, parse_json, read_checked

EPISODES_FILE = "episodes.jsonl"
DISCARDED_FILE = "discarded.jsonl"


@dataclass(frozen=True, kw_only=True)
class _RequiredMetadata:
    """What the metadata of every episode must hold; None means unknown."""

    seed: int | None
    environment: str | None
    instruction: str
    success: bool | None


REQUIRED_METADATA = tuple(field.name for field in fields(_RequiredMetadata))
"""Keys that the metadata of every episode must have."""
WRITER_FIELDS = ("episode_index", "file", "length", "sha256")
"""Keys that the writer adds to the metadata of every episode."""


@dataclass(frozen=True, kw_only=True)
class StoredEpisode:
    """One line of `episodes.jsonl`."""

    episode_index: int
    file: str
    """Path below the dataset folder."""
    length: int
    """Number of steps."""
    sha256: str
    """SHA-256 of the file."""
    metadata: dict[str, Any]
    """Seed, environment, instruction, success, and any further data that the caller gave to the writer."""

    def to_line(self) -> str:
        """Return the episode as one line of JSON."""
        fields = {"episode_index": self.episode_index, "file": self.file, "length": self.length}
        return json.dumps(fields | self.metadata | {"sha256": self.sha256}) + "\n"

    @classmethod
    def from_line(cls, line: bytes) -> StoredEpisode:
        """Rebuild an episode from `to_line`.

        Raises:
            SimScaleError: If the line is damaged. The exceptions in `json_data.DAMAGE` are possible, too.
        """
        metadata = parse_json(line)
        fields = {name: metadata.pop(name) for name in WRITER_FIELDS}
        episode = read_checked(cls, fields | {"metadata": metadata})
        if min(episode.episode_index, episode.length - 1) < 0:
            raise SimScaleError(f"episode {episode.episode_index} of {episode.length} steps is impossible")
        if Path(episode.file).is_absolute() or ".." in Path(episode.file).parts:
            raise SimScaleError(f"file {episode.file!r} lies outside the dataset")
        check_metadata(metadata, episode.episode_index)
        return episode


def check_metadata(metadata: Mapping[str, Any], episode_index: int) -> None:
    """Check that the metadata of an episode is complete, and that each required entry has its type.

    Raises:
        DatasetError: If an entry is missing or wrong, or the instruction cannot be written as UTF-8.
    """
    missing = [name for name in REQUIRED_METADATA if name not in metadata]
    if missing:
        raise DatasetError(f"the metadata of episode {episode_index} lacks {', '.join(missing)}")
    try:
        read_checked(_RequiredMetadata, {name: metadata[name] for name in REQUIRED_METADATA})
        metadata["instruction"].encode()
    except UnicodeEncodeError:
        raise DatasetError(f"the instruction of episode {episode_index} holds half a character") from None
    except SimScaleError as error:
        raise DatasetError(f"the metadata of episode {episode_index} is wrong: {error}") from None


def check_discarded(entry: Mapping[str, Any]) -> int:
    """Return the index of a discarded episode with the metadata `entry`.

    Raises:
        SimScaleError: If `entry` names no possible index.
    """
    index: Any = entry.get("episode_index")
    if not is_of_type(index, int) or index < 0:
        raise SimScaleError(f"expected an episode_index of at least 0, got {str(index)[:20]}")
    return int(index)


def episode_file_name(episode_index: int) -> str:
    """Return the path of an episode's file below the dataset folder."""
    return f"episodes/episode_{episode_index:06d}.safetensors"


def read_episode_list(folder: Path) -> list[StoredEpisode]:
    """Return the finished episodes in the order of their index. An incomplete last line is ignored.

    Raises:
        DatasetError: If another line is damaged, or an episode is listed twice.
    """
    path = folder / EPISODES_FILE
    episodes: dict[int, StoredEpisode] = {}
    files: set[str] = set()
    for number, line in enumerate(complete_lines(path), start=1):
        try:
            episode = StoredEpisode.from_line(line)
        except DAMAGE as error:
            raise DatasetError(f"{path} line {number} is damaged: {damage_text(error)}") from None
        if episode.episode_index in episodes or episode.file in files:
            raise DatasetError(f"{path} line {number} lists episode {episode.episode_index} or its file again")
        files.add(episode.file)
        episodes[episode.episode_index] = episode
    return [episodes[index] for index in sorted(episodes)]


def read_discarded(folder: Path) -> list[dict[str, Any]]:
    """Return the metadata of the episodes that were run but not kept, in the order of their `episode_index`.

    Raises:
        DatasetError: If a line other than an incomplete last one is damaged.
    """
    path = folder / DISCARDED_FILE
    try:
        return sorted(map(parse_json, complete_lines(path)), key=check_discarded)
    except DAMAGE as error:
        raise DatasetError(f"{path} is damaged: {damage_text(error)}") from None


def remove_incomplete_line(path: Path) -> None:
    """Remove a last line without a newline, which is what a process leaves if it dies while writing."""
    if path.exists():
        complete = b"".join(line + b"\n" for line in complete_lines(path))
        if path.stat().st_size != len(complete):
            replace_file(path, complete)
