"""Reads the files of any LeRobotDataset v3.0, episode by episode."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from simscaleai.data.episode_file import DatasetError
from simscaleai.data.lerobot.images import decode_images
from simscaleai.data.lerobot.layout import INFO_PATH, TASKS_PATH, VERSION, LeRobotFeature
from simscaleai.data.lerobot.video import read_video
from simscaleai.json_data import DAMAGE, damage_text

READ_ERRORS = (*DAMAGE, IndexError, SyntaxError, OSError, pa.ArrowException)
"""Exceptions that reading a damaged file may raise. A damaged PNG raises SyntaxError."""


@dataclass(frozen=True)
class Episode:
    """One row of the table of episodes."""

    index: int
    length: int
    task: str
    row: dict[str, Any]
    """All columns except the statistics."""


class LeRobotSource:
    """An opened LeRobotDataset: its description, its episodes, and their arrays."""

    def __init__(self, folder: Path) -> None:
        """Open `folder`.

        Raises:
            DatasetError: If the folder holds no LeRobotDataset v3.0, or the dataset is damaged.
        """
        self.folder = folder
        self.info = _read_info(folder)
        self.features: dict[str, LeRobotFeature] = self.info["features"]
        """Name of each feature to its `dtype`, `shape` and `names`."""
        self.fps: int = self.info["fps"]
        """Frames per second."""
        try:
            self.episodes = tuple(self._read_episodes(_read_tasks(folder)))
        except READ_ERRORS as error:
            raise _damaged(folder / "meta", error) from None
        """The episodes in the order of their index."""
        self._read_data_file = lru_cache(maxsize=1)(pq.read_table)

    def read(self, episode: Episode, key: str, *, image_size: tuple[int, int] | None = None) -> NDArray[Any]:
        """Return feature `key` of `episode`. The first dimension is time.

        Args:
            episode: One of `episodes`.
            key: One of `features`.
            image_size: Height and width that images are scaled to; None keeps their size.

        Raises:
            DatasetError: If a file is missing or damaged, or the feature is of an unknown kind.
        """
        feature = self.features[key]
        try:
            if feature["dtype"] == "video":
                values = self._read_video(episode, key, image_size)
            else:
                column = self._table(episode).column(key)
                values = decode_images(column, image_size) if feature["dtype"] == "image" else _to_array(column)
        except READ_ERRORS as error:
            raise _damaged(self.folder, error, f"episode {episode.index}, {key}") from None
        if len(values) != episode.length:
            raise DatasetError(
                f"{self.folder}: {key} of episode {episode.index} has {len(values)} frames, not {episode.length}"
            )
        return values

    def _table(self, episode: Episode) -> pa.Table:
        table = self._read_data_file(self._path("data_path", episode.row, "data"))
        rows = np.flatnonzero(table.column("episode_index").to_numpy() == episode.index)
        if len(rows) != episode.length or rows[-1] - rows[0] + 1 != episode.length:
            raise ValueError(f"{len(rows)} frames, the table of episodes says {episode.length}")
        frames = table.slice(int(rows[0]), episode.length)
        if (frames.column("frame_index").to_numpy() != np.arange(episode.length)).any():
            raise ValueError("its frames are out of order")
        return frames

    def _read_video(self, episode: Episode, key: str, image_size: tuple[int, int] | None) -> NDArray[np.uint8]:
        path = self._path("video_path", episode.row, f"videos/{key}", video_key=key)
        first = round(episode.row[f"videos/{key}/from_timestamp"] * self.fps)
        return read_video(path, first, episode.length, image_size)

    def _path(self, pattern: str, row: dict[str, Any], prefix: str, **names: str) -> Path:
        chunk, file = row[f"{prefix}/chunk_index"], row[f"{prefix}/file_index"]
        path: Path = self.folder / self.info[pattern].format(chunk_index=chunk, file_index=file, **names)
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise ValueError(f"{path} lies outside the dataset")
        return path

    def _read_episodes(self, tasks: dict[int, str]) -> Iterator[Episode]:
        paths = sorted((self.folder / "meta" / "episodes").glob("*/*.parquet"))
        rows = [row for path in paths for row in _without_statistics(path)]
        rows.sort(key=lambda row: int(row["episode_index"]))
        if [row["episode_index"] for row in rows] != list(range(self.info["total_episodes"])):
            raise ValueError(f"{len(rows)} episodes, {self.info['total_episodes']} according to info.json")
        for row in rows:
            texts = row.get("tasks") or [tasks[0]]
            if len(texts) > 1:
                raise ValueError(f"episode {row['episode_index']} has {len(texts)} tasks, expected one")
            yield Episode(int(row["episode_index"]), int(row["length"]), str(texts[0]), row)


def _read_info(folder: Path) -> dict[str, Any]:
    path = folder / INFO_PATH
    if not path.is_file():
        raise DatasetError(f"{folder} is no LeRobotDataset: it has no {INFO_PATH}")
    try:
        info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if info["codebase_version"] != VERSION:
            raise DatasetError(
                f"{folder} is a LeRobotDataset {info['codebase_version']}; this version reads {VERSION}; "
                "the package lerobot converts older ones"
            )
        for feature in info["features"].values():
            feature["shape"] = tuple(feature["shape"])
            feature["dtype"].lower()
        if info["total_episodes"] < 1:
            raise DatasetError(f"{folder} holds no episode")
        if info["fps"] != int(info["fps"]):
            raise DatasetError(f"{folder} has {info['fps']} frames per second, expected a whole number")
        return info | {"fps": int(info["fps"])}
    except DatasetError:
        raise
    except READ_ERRORS as error:
        raise _damaged(path, error) from None


def _read_tasks(folder: Path) -> dict[int, str]:
    table = pq.read_table(folder / TASKS_PATH)
    (text,) = (name for name in table.column_names if name != "task_index")
    return dict(zip(table.column("task_index").to_pylist(), table.column(text).to_pylist(), strict=True))


def _without_statistics(path: Path) -> list[dict[str, Any]]:
    names = [name for name in pq.read_schema(path).names if not name.startswith("stats/")]
    rows: list[dict[str, Any]] = pq.read_table(path, columns=names).to_pylist()
    return rows


def _to_array(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return a column of numbers (T,), or of lists of n numbers each (T, n)."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # an empty column, or one too large for one chunk
        array = pa.concat_arrays(array.chunks)
    flat = array
    while pa.types.is_list(flat.type) or pa.types.is_large_list(flat.type) or pa.types.is_fixed_size_list(flat.type):
        flat = flat.flatten()
    if array.null_count or flat.null_count:
        raise ValueError("a value is missing")
    values: NDArray[Any] = flat.to_numpy(zero_copy_only=False)
    return values if flat is array else values.reshape(len(array), -1)


def _damaged(path: Path, error: BaseException, where: str = "") -> DatasetError:
    return DatasetError(f"{path} is damaged{f' at {where}' if where else ''}: {damage_text(error)}")
