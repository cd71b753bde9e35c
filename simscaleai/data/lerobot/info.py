"""`meta/info.json` of a LeRobotDataset of any origin: checked when it is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simscaleai.data.episode_file import DatasetError
from simscaleai.data.exchange.damage import reading
from simscaleai.data.exchange.source import SourceFeature
from simscaleai.data.lerobot.layout import INFO_PATH, OLD_VERSION, VERSION
from simscaleai.errors import SimScaleError
from simscaleai.files import read_file
from simscaleai.json_data import parse_json, read_checked

_MOST_BYTES = 2**26
_MOST_FPS = 10_000


@dataclass(frozen=True, kw_only=True)
class SourceInfo:
    """The content of `info.json` that an import uses."""

    codebase_version: str
    """Version of the format, one of those that are read."""
    total_episodes: int
    fps: float
    """Frames per second."""
    data_path: str
    """Pattern of the paths of the data files, with `{chunk_index}` and `{file_index}`, or in v2.1 with
    `{episode_chunk}` and `{episode_index}`."""
    chunks_size: int = 1000
    """Number of the episodes in a folder of v2.1."""
    video_path: str | None = None
    """Pattern of the paths of the videos, with `{video_key}`, too."""
    features: dict[str, SourceFeature]

    def __post_init__(self) -> None:
        """Check that the numbers and names are possible."""
        if self.total_episodes < 1:
            raise DatasetError(f"expected at least 1 episode, got total_episodes {self.total_episodes}")
        if not (1 <= self.fps <= _MOST_FPS and self.fps == int(self.fps)):
            raise DatasetError(f"expected a whole number of frames per second from 1 to {_MOST_FPS}, got {self.fps}")
        if self.chunks_size < 1:
            raise DatasetError(f"expected chunks of at least 1 episode, got chunks_size {self.chunks_size}")
        for name in self.features:
            if not name.isprintable():
                raise DatasetError(f"expected names of printable characters, got the feature {name!r}")


def read_info(folder: Path) -> tuple[SourceInfo, str | None]:
    """Read `info.json` of the LeRobotDataset in `folder`, and return it with the type of the robot, if it says so.

    Raises:
        DatasetError: If `folder` holds no LeRobotDataset v3.0 or v2.1, or the file is damaged.
    """
    path = folder / INFO_PATH
    if not path.exists():
        raise DatasetError(f"{folder} is no LeRobotDataset: it has no {INFO_PATH}")
    with reading(path):
        data = parse_json(read_file(path, _MOST_BYTES))
        if data["codebase_version"] not in (VERSION, OLD_VERSION):
            raise DatasetError(
                f"{folder} is a LeRobotDataset {data['codebase_version']}; {OLD_VERSION} and {VERSION} are read; "
                "the package lerobot converts older ones"
            )
        values = {name: value for name, value in data.items() if name in SourceInfo.__dataclass_fields__}
        values["features"] = {name: _used_entries(feature) for name, feature in data["features"].items()}
        try:
            info = read_checked(SourceInfo, values)
        except SimScaleError as error:
            raise DatasetError(f"cannot use {path}: {error}; correct it") from None
        robot_type = data.get("robot_type")
        return info, robot_type if isinstance(robot_type, str) else None


def _used_entries(feature: dict[str, Any]) -> dict[str, Any]:
    used = {name: value for name, value in feature.items() if name in ("dtype", "names")}
    note = feature.get("info")
    is_depth_map = isinstance(note, dict) and True in (note.get("is_depth_map"), note.get("video.is_depth_map"))
    return used | {"is_depth_map": is_depth_map}
