"""Exports a SimScaleAI dataset as a LeRobotDataset v3.0."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tqdm import tqdm

from simscaleai.data.episode_file import Arrays, DatasetError
from simscaleai.data.exchange.contents import Contents
from simscaleai.data.lerobot.images import encode_images
from simscaleai.data.lerobot.layout import (
    DATA_FILE_MEGABYTES,
    DATA_PATH,
    EPISODES_PATH,
    FILES_PER_CHUNK,
    FRAME_COLUMNS,
    INFO_PATH,
    OWN_FORMAT,
    OWN_PATH,
    STATISTICS_PATH,
    TASKS_PATH,
    VERSION,
    VIDEO_FILE_MEGABYTES,
    arrow_schema,
    check_path,
    feature_name,
    lerobot_features,
)
from simscaleai.data.lerobot.statistics import (
    FeatureStatistics,
    count_pixels,
    image_statistics,
    vector_statistics,
)
from simscaleai.files import new_folder, replace_file


def export_lerobot(source: Path, output: Path, *, privileged: bool = False) -> None:
    """Write the dataset in `source` to the new folder `output`, which is filled when it is complete.

    Vectors and images keep their values, bit for bit; images become embedded PNG files. Episodes are numbered from 0
    without gaps. The instruction of an episode becomes its task.

    Args:
        source: The dataset.
        output: Folder to write, new or empty.
        privileged: Whether to write the privileged vectors (simulator truth), too, each as the feature
            `privileged.NAME`, which no trainer takes for an input.

    Raises:
        DatasetError: If `source` is no SimScaleAI dataset or has changed since it was written, or LeRobot cannot hold
            an array or the control rate.
        SimScaleError: If `output` exists and is not an empty folder, or another process writes to it.
    """
    check_path(output)
    contents = Contents.open(source, privileged=privileged)
    with new_folder(output) as folder:
        _Export(contents, folder).run()
        _write_json(folder / OWN_PATH, contents.record().to_json(OWN_FORMAT))


@dataclass
class _Export:
    """Writes one dataset to `folder`."""

    contents: Contents
    folder: Path
    pixels: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    """Maps each image feature to counts (C, 256) of the pixel values in the episodes so far; see `count_pixels`."""

    def __post_init__(self) -> None:
        self.dataset, self.description = self.contents.dataset, self.contents.description
        self.features = lerobot_features(self.description)
        self.array_of = {feature_name(key, self.description.layout(key)): key for key in self.description.array_types}
        self.schema = arrow_schema(self.features)
        self.fps = int(self.description.fps)
        if self.fps != self.description.fps:
            raise DatasetError(f"expected a whole number of steps per second to export, got {self.description.fps}")
        instructions = [episode.metadata["instruction"] for episode in self.dataset.episodes]
        self.tasks = {text: number for number, text in enumerate(dict.fromkeys(instructions))}
        self.task_of_episode = [self.tasks[text] for text in instructions]

    def run(self) -> None:
        files = _DataFiles(self.folder, self.schema)
        numbers = tqdm(range(len(self.dataset.episodes)), unit="ep", disable=None)
        rows = [self._episode_row(number, files) for number in numbers]
        files.close()
        _write_table(self.folder / EPISODES_PATH.format(chunk_index=0, file_index=0), pa.Table.from_pylist(rows))
        _write_table(self.folder / TASKS_PATH, _tasks_table(list(self.tasks)))
        _write_json(self.folder / STATISTICS_PATH, self._statistics_of_all())
        _write_json(self.folder / INFO_PATH, self._info())

    def _episode_row(self, number: int, files: _DataFiles) -> dict[str, Any]:
        """Write the frames of one episode and return its row of the table of episodes."""
        columns = self._frame_columns(number) | self._exported_arrays(number)
        chunk_index, file_index = files.write(self._table(number, columns))
        end, length = int(self.dataset.episode_ends[number]), self.dataset.episodes[number].length
        row = {
            "episode_index": number,
            "tasks": [self.dataset.episodes[number].metadata["instruction"]],
            "length": length,
            "data/chunk_index": chunk_index,
            "data/file_index": file_index,
            "dataset_from_index": end - length,
            "dataset_to_index": end,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        for key in self.features:
            found = self._statistics(key, columns[key])
            row |= {f"stats/{key}/{name}": values for name, values in found.items()}
        return row

    def _exported_arrays(self, number: int) -> Arrays:
        """Return the arrays of the episode `number` by feature."""
        exported = self.contents.arrays(number)
        return {name: exported[key] for name, key in self.array_of.items()}

    def _frame_columns(self, number: int) -> Arrays:
        """Return the columns that LeRobot requires for every episode, here for episode `number`."""
        end, length = int(self.dataset.episode_ends[number]), self.dataset.episodes[number].length
        frames = np.arange(length)
        columns = {
            "timestamp": frames / self.fps,
            "frame_index": frames,
            "episode_index": np.full(length, number),
            "index": np.arange(end - length, end),
            "task_index": np.full(length, self.task_of_episode[number]),
        }
        return {key: values.astype(FRAME_COLUMNS[key]) for key, values in columns.items()}

    def _table(self, number: int, columns: Arrays) -> pa.Table:
        arrays = [
            encode_images(columns[key], f"{key}-{number:06d}") if feature["dtype"] == "image" else _column(columns[key])
            for key, feature in self.features.items()
        ]
        return pa.Table.from_arrays(arrays, schema=self.schema)

    def _statistics(self, key: str, values: NDArray[Any]) -> FeatureStatistics:
        if self.features[key]["dtype"] != "image":
            return vector_statistics(values)
        counts = count_pixels(values)
        self.pixels[key] = self.pixels[key] + counts if key in self.pixels else counts
        return image_statistics(counts, len(values))

    def _statistics_of_all(self) -> dict[str, FeatureStatistics]:
        count = len(self.dataset.episodes)
        frames = [self._frame_columns(number) for number in range(count)]
        found = {key: image_statistics(counts, self.dataset.num_frames) for key, counts in self.pixels.items()}
        found |= {key: vector_statistics(np.concatenate([columns[key] for columns in frames])) for key in FRAME_COLUMNS}
        vectors = {name: key for name, key in self.array_of.items() if name not in found}
        return found | {name: vector_statistics(self.dataset.vectors(key)) for name, key in vectors.items()}

    def _info(self) -> dict[str, Any]:
        count = len(self.dataset.episodes)
        return {
            "codebase_version": VERSION,
            "robot_type": None,
            "total_episodes": count,
            "total_frames": self.dataset.num_frames,
            "total_tasks": len(self.tasks),
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": DATA_FILE_MEGABYTES,
            "video_files_size_in_mb": VIDEO_FILE_MEGABYTES,
            "fps": self.fps,
            "splits": {"train": f"0:{count}"},
            "data_path": DATA_PATH,
            "video_path": None,
            "features": self.features,
        }


class _DataFiles:
    """Writes the frames to Parquet files, one row group for each episode. When a file is full, the next one begins."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder, self._schema = folder, schema
        self._number, self._bytes = 0, 0
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> tuple[int, int]:
        """Write one episode and return the indices of its chunk and its file."""
        if self._writer is not None and self._bytes + table.nbytes > DATA_FILE_MEGABYTES * 2**20:
            self.close()
            self._number += 1
        chunk_index, file_index = divmod(self._number, FILES_PER_CHUNK)
        if self._writer is None:
            path = self._folder / DATA_PATH.format(chunk_index=chunk_index, file_index=file_index)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(path.absolute(), self._schema, compression="snappy")
        self._writer.write_table(table, row_group_size=table.num_rows)
        self._bytes += table.nbytes
        return chunk_index, file_index

    def close(self) -> None:
        """Finish the current file."""
        if self._writer is not None:
            self._writer.close()
            self._writer, self._bytes = None, 0


def _column(values: NDArray[Any]) -> pa.Array:
    """Return `values` (T,), (T, 1) or (T, n) as a column of numbers or of lists of n."""
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    size = values[0].size
    return flat if size == 1 else pa.FixedSizeListArray.from_arrays(flat, size)


def _tasks_table(tasks: list[str]) -> pa.Table:
    """Return the tasks as pandas writes them: the text is the index of the data frame."""
    index = "__index_level_0__"
    text = {"name": None, "field_name": index, "pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    number = {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"}
    note = {
        "index_columns": [index],
        "column_indexes": [
            text | {"field_name": None, "metadata": {"encoding": "UTF-8"}},
        ],
        "columns": [number | {"metadata": None}, text],
        "attributes": {},
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    columns = {"task_index": pa.array(range(len(tasks)), pa.int64()), index: pa.array(tasks, pa.string())}
    return pa.table(columns).replace_schema_metadata({"pandas": json.dumps(note)})


def _write_table(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path.absolute(), compression="snappy")  # pyarrow takes a relative a:b for an address


def _write_json(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, json.dumps(data, indent=4, ensure_ascii=False) + "\n")
