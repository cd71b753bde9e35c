"""The lists of a LeRobotDataset v2.1, which has one Parquet file and one video of each camera for each episode."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from simscaleai.data.lerobot.info import SourceInfo
from simscaleai.files import read_file
from simscaleai.json_data import parse_json

EPISODES_PATH = "meta/episodes.jsonl"
TASKS_PATH = "meta/tasks.jsonl"

_MOST_BYTES = 2**30


def read_rows(folder: Path, info: SourceInfo) -> list[dict[str, Any]]:
    """Return the rows of the list of episodes with the entries that v3.0 has for the places of the files."""
    prefixes = ["data", *(f"videos/{key}" for key, feature in info.features.items() if feature.dtype == "video")]
    return [{**row, **_places(int(row["episode_index"]), info, prefixes)} for row in _lines(folder / EPISODES_PATH)]


def read_tasks(folder: Path) -> list[tuple[Any, Any]]:
    """Return the index and the text of each task."""
    return [(row["task_index"], row["task"]) for row in _lines(folder / TASKS_PATH)]


def _places(episode: int, info: SourceInfo, prefixes: Iterable[str]) -> dict[str, Any]:
    """Return the numbers in the paths of the files of `episode`. A video begins with its episode."""
    numbers = {"episode_chunk": episode // info.chunks_size, "episode_index": episode, "from_timestamp": 0.0}
    return {f"{prefix}/{name}": value for prefix in prefixes for name, value in numbers.items()}


def _lines(path: Path) -> list[dict[str, Any]]:
    return [parse_json(line) for line in read_file(path, _MOST_BYTES).split(b"\n") if line.strip()]
