"""Reads the files of any LeRobotDataset v3.0 or v2.1, episode by episode."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from simscaleai.contract import ImageSize
from simscaleai.data.episode_file import DatasetError
from simscaleai.data.exchange.damage import reading
from simscaleai.data.exchange.source import SourceFeature
from simscaleai.data.lerobot.images import decode_images
from simscaleai.data.lerobot.info import read_info
from simscaleai.data.lerobot.layout import FRAME_COLUMNS, OLD_VERSION, TASKS_PATH, check_path, fill_pattern
from simscaleai.data.lerobot.version_2_1 import read_rows, read_tasks
from simscaleai.data.lerobot.video import read_video
from simscaleai.files import file_size

_RATE_TOLERANCE = 0.01  # difference of the rate that the timestamps show from the stated one, relative
_PATH_FIELDS = ("chunk_index", "file_index", "episode_chunk", "episode_index")
_TEXT_COLUMNS = ("task", "__index_level_0__")


@dataclass(frozen=True)
class Episode:
    """Consecutive frames with one task: an episode of the source, or a part of an episode in which the task changes."""

    index: int
    """Number among the episodes to import."""
    source_index: int
    """Number of the episode in the source."""
    first_frame: int
    """Number of the first frame in the episode of the source."""
    first_row: int
    """Row of the first frame in the data file."""
    times: NDArray[np.float64]
    """Time of each frame from the start of the episode of the source [s], shape (length,)."""
    task: str
    """The instruction; "" if there is none."""
    row: dict[str, Any]
    """Row of the table of episodes, without the statistics."""

    @property
    def length(self) -> int:
        """Number of frames."""
        return len(self.times)


class LeRobotSource:
    """An opened LeRobotDataset: its description, its episodes, and their arrays.

    What the frames say counts: their task, their times, the shape and depth of their images, the length of their lists.
    """

    counters = frozenset(FRAME_COLUMNS)

    def __init__(self, folder: Path) -> None:
        """Open `folder`.

        Raises:
            DatasetError: If the folder holds no LeRobotDataset v3.0 or v2.1, or the dataset is damaged.
        """
        check_path(folder)
        self.folder = folder
        self._info, self.robot_type = read_info(folder)
        self.format = f"LeRobotDataset {self._info.codebase_version}"
        """Name and version of the format."""
        self.features: Mapping[str, SourceFeature] = self._info.features
        """What `info.json` says about each feature."""
        self.fps = int(self._info.fps)
        """Frames per second."""
        self._frame_columns = lru_cache(maxsize=1)(_read_frame_columns)
        self._data_file = lru_cache(maxsize=1)(_read_table)
        self.episodes = tuple(self._read_episodes())
        """The episodes in the order of their index."""
        self._check_rate()

    def read(self, episode: Episode, key: str, *, image_size: ImageSize | None = None) -> NDArray[Any]:
        """Return feature `key` of `episode`. The first dimension is time.

        Args:
            episode: One of `episodes`.
            key: One of `features`.
            image_size: Height and width that images are scaled to; None keeps their size.

        Raises:
            DatasetError: If a file is missing or damaged, or the feature has a type that cannot be read.
        """
        dtype = self.features[key].dtype
        with reading(self.folder, f"episode {episode.source_index}, {key}"):
            if dtype == "video":
                return self._read_video(episode, key, image_size)
            column = self._data_file(self._path(self._info.data_path, episode.row, "data")).column(key)
            column = column.slice(episode.first_row, episode.length)
            return decode_images(column, image_size) if dtype == "image" else _to_array(column)

    def image_size(self, key: str) -> ImageSize:
        """Return the height and width of the first image of feature `key`. It raises the same errors as `read`."""
        episode = self.episodes[0]
        height, width = self.read(replace(episode, times=episode.times[:1]), key).shape[1:3]
        return height, width

    def irregular_steps(self) -> int:
        """Return how many steps are longer or shorter than the others by more than half."""
        steps = np.concatenate([np.diff(episode.times) for episode in self.episodes])
        return int((np.abs(steps * self.fps - 1) > 0.5).sum())

    def _read_video(self, episode: Episode, key: str, image_size: ImageSize | None) -> NDArray[np.uint8]:
        prefix, half_a_step = f"videos/{key}", 0.5 / self.fps
        path = self._path(self._info.video_path or "", episode.row, prefix, video_key=key)
        times = float(episode.row[f"{prefix}/from_timestamp"]) + episode.times
        end = episode.row.get(f"{prefix}/to_timestamp")
        if end is not None and times[-1] > float(end) + half_a_step:
            raise ValueError(f"its frames reach until {times[-1]:.3f} s of a video, in which it ends at {end:.3f} s")
        return read_video(path, times, half_a_step, image_size)

    @property
    def _is_old(self) -> bool:
        return self._info.codebase_version == OLD_VERSION

    def _path(self, pattern: str, row: Mapping[str, Any], prefix: str, **names: str) -> Path:
        values: dict[str, int | str] = {
            name: int(row[f"{prefix}/{name}"]) for name in _PATH_FIELDS if f"{prefix}/{name}" in row
        }
        return self.folder / fill_pattern(pattern, {**values, **names})

    def _read_episodes(self) -> Iterator[Episode]:
        with reading(self.folder / "meta"):
            tasks, rows = _read_tasks(self.folder, self._is_old), self._read_rows()
        count = 0
        for row in rows:
            with reading(self.folder, f"episode {row['episode_index']}"):
                parts = list(self._parts(row, tasks))
            for part in parts:
                yield replace(part, index=count)
                count += 1

    def _read_rows(self) -> list[dict[str, Any]]:
        """Return the rows of the table of episodes in the order of their index."""
        rows = read_rows(self.folder, self._info) if self._is_old else _read_row_files(self.folder)
        rows.sort(key=lambda row: int(row["episode_index"]))
        total = self._info.total_episodes
        if len(rows) != total or [row["episode_index"] for row in rows] != list(range(len(rows))):
            raise ValueError(f"{len(rows)} episodes, {total} according to info.json, which must be numbered from 0")
        return rows

    def _parts(self, row: dict[str, Any], tasks: Mapping[int, str]) -> Iterator[Episode]:
        """Yield the episode of `row`, in parts if its task changes."""
        number, length = int(row["episode_index"]), int(row["length"])
        columns = self._frame_columns(self._path(self._info.data_path, row, "data"))
        rows = np.flatnonzero(columns["episode_index"] == number)
        if not len(rows) or len(rows) != length or rows[-1] - rows[0] + 1 != length:
            raise ValueError(f"{len(rows)} frames, the table of episodes says {length}")
        own = {name: values[rows] for name, values in columns.items()}
        if (own["frame_index"] != np.arange(length)).any():
            raise ValueError("its frames are out of order")
        times = own.get("timestamp", np.arange(length) / self.fps).astype(np.float64)
        if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
            raise ValueError("its timestamps do not ascend")
        task_of_frame = own.get("task_index", np.zeros(length))
        changes = np.flatnonzero(np.diff(task_of_frame)) + 1
        for first, end in pairwise([0, *changes.tolist(), length]):
            task = _task(task_of_frame[first], tasks) if "task_index" in own else _only_task(row)
            yield Episode(0, number, first, int(rows[first]), times[first:end], task, row)

    def _check_rate(self) -> None:
        """Raise `DatasetError` if the timestamps show another rate than `info.json`."""
        steps = np.concatenate([np.diff(episode.times) for episode in self.episodes])
        if len(steps) and abs(np.median(steps) * self.fps - 1) > _RATE_TOLERANCE:
            raise DatasetError(
                f"{self.folder}: its timestamps show {1 / np.median(steps):.4g} frames per second, meta/info.json says "
                f"{self.fps}; correct fps there"
            )


def _read_tasks(folder: Path, is_old: bool) -> dict[int, str]:
    pairs = read_tasks(folder) if is_old else _read_task_table(folder)
    tasks = dict(pairs)
    if len(tasks) != len(pairs) or not all(isinstance(task, str) for task in tasks.values()):
        raise ValueError("the list of tasks must give each task_index one text")
    return tasks


def _read_task_table(folder: Path) -> list[tuple[int, Any]]:
    table = _read_table(folder / TASKS_PATH)
    names = [name for name in _TEXT_COLUMNS if name in table.column_names]
    (text, *_) = names or [name for name in table.column_names if name != "task_index"]
    return list(zip(table.column("task_index").to_pylist(), table.column(text).to_pylist(), strict=True))


def _read_row_files(folder: Path) -> list[dict[str, Any]]:
    paths = sorted((folder / "meta" / "episodes").glob("[!.]*/[!.]*.parquet"))  # macOS adds hidden files
    return [row for path in paths for row in _without_statistics(path)]


def _task(index: float, tasks: Mapping[int, str]) -> str:
    if index not in tasks:
        raise ValueError(f"a frame has the task {index:g}, which the list of tasks lacks")
    return tasks[int(index)]


def _only_task(row: Mapping[str, Any]) -> str:
    """Return the task of an episode whose frames do not name it."""
    texts = row.get("tasks") or [""]
    if len(texts) > 1:
        raise ValueError(f"it has {len(texts)} tasks, and its frames do not say which is whose")
    return str(texts[0])


def _read_table(path: Path, is_wanted: Callable[[str], bool] | None = None) -> pa.Table:
    """Return the columns of the Parquet file in `path`: all, or those whose names are wanted."""
    file_size(path)  # also refuses pipes and devices
    local = path.absolute()  # pyarrow takes a relative path with a colon for the address of a server
    names = None if is_wanted is None else [*filter(is_wanted, pq.read_schema(local).names)]
    return pq.read_table(local, columns=names, partitioning=None)


def _read_frame_columns(path: Path) -> dict[str, NDArray[Any]]:
    """Return those of `FRAME_COLUMNS` that the data file in `path` has, shape (rows,)."""
    table = _read_table(path, FRAME_COLUMNS.__contains__)
    return {name: _to_array(table.column(name)).reshape(table.num_rows) for name in table.column_names}


def _without_statistics(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = _read_table(path, lambda name: not name.startswith("stats/")).to_pylist()
    return rows


def _to_array(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return a column of numbers (T,), or of lists of n numbers each (T, n)."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # an empty column, or one too large for one chunk
        array = pa.concat_arrays(array.chunks)
    flat, missing = array, array.null_count
    while pa.types.is_list(flat.type) or pa.types.is_large_list(flat.type) or pa.types.is_fixed_size_list(flat.type):
        lengths = pc.min_max(pc.list_value_length(flat)).as_py()
        if lengths["min"] != lengths["max"]:
            raise ValueError(f"its lists have {lengths['min']} to {lengths['max']} entries, expected one length")
        flat = flat.flatten()
        missing += flat.null_count
    if missing:
        raise ValueError("a value is missing")
    values: NDArray[Any] = flat.to_numpy(zero_copy_only=False)
    if values.dtype.kind not in "fiub":
        raise ValueError(f"expected numbers, got {flat.type}")
    return values if flat is array else values.reshape(len(array), -1)
