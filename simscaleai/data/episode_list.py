"""`episodes.jsonl` and `discarded.jsonl`: which episodes a dataset holds, and which were run but not kept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simscaleai.data.episode_file import DatasetError
from simscaleai.errors import SimScaleError
from simscaleai.files import complete_lines, replace_file
from simscaleai.json_data import DAMAGE, damage_text, parse_json, read_checked

EPISODES_FILE = "episodes.jsonl"
DISCARDED_FILE = "discarded.jsonl"

REQUIRED_METADATA = ("seed", "environment", "instruction", "success")
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
        missing = [name for name in REQUIRED_METADATA if name not in metadata]
        if missing:
            raise SimScaleError(f"it lacks {', '.join(missing)}")
        return episode


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
    for number, line in enumerate(complete_lines(path), start=1):
        try:
            episode = StoredEpisode.from_line(line)
        except DAMAGE as error:
            raise DatasetError(f"{path} line {number} is damaged: {damage_text(error)}") from None
        if episode.episode_index in episodes:
            raise DatasetError(f"{path} line {number} lists episode {episode.episode_index} again")
        episodes[episode.episode_index] = episode
    return [episodes[index] for index in sorted(episodes)]


def read_discarded(folder: Path) -> list[dict[str, Any]]:
    """Return the metadata of the episodes that were run but not kept, in the order of their `episode_index`.

    Raises:
        DatasetError: If a line other than an incomplete last one is damaged.
    """
    path = folder / DISCARDED_FILE
    try:
        return sorted(map(parse_json, complete_lines(path)), key=lambda entry: int(entry["episode_index"]))
    except DAMAGE as error:
        raise DatasetError(f"{path} is damaged: {damage_text(error)}") from None


def remove_incomplete_line(path: Path) -> None:
    """Remove a last line without a newline, which is what a process leaves if it dies while writing."""
    if path.exists():
        complete = b"".join(line + b"\n" for line in complete_lines(path))
        if path.stat().st_size != len(complete):
            replace_file(path, complete)
