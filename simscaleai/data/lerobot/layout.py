"""Layout of a LeRobotDataset v3.0: paths of the files, and how `info.json` and Arrow describe a feature."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa

from simscaleai.contract import Layout
from simscaleai.data.description import ArrayType, Description
from simscaleai.data.episode_file import DatasetError
from simscaleai.data.keys import IMAGE_PREFIX, PRIVILEGED_PREFIX, VECTOR_PREFIX

VERSION = "v3.0"
OLD_VERSION = "v2.1"
"""Version that is imported, but not written."""
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
INFO_PATH = "meta/info.json"
STATISTICS_PATH = "meta/stats.json"
TASKS_PATH = "meta/tasks.parquet"
OWN_PATH = "meta/simscaleai.json"
"""File that this package adds: needs, provenance, and the metadata of each episode."""
OWN_FORMAT = "simscaleai-lerobot"
"""Name of the format of that file."""

FILES_PER_CHUNK = 1000
DATA_FILE_MEGABYTES = 100
VIDEO_FILE_MEGABYTES = 200

IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""Type of an embedded image in a Parquet file."""

FRAME_COLUMNS: dict[str, str] = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
"""Columns that every LeRobotDataset has, one number per frame: name to dtype."""

_FIELD = re.compile(r"\{(\w+)(?::0(\d)d)?\}")

LeRobotFeature = dict[str, Any]
"""`dtype`, `shape` and `names`, as in `info.json`."""


def check_path(folder: Path) -> None:
    """Raise `DatasetError` if the path of `folder` is not UTF-8, which is all that pyarrow can open."""
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError:
        raise DatasetError(f"expected a path in UTF-8 for Parquet files, got {folder}; rename the folder") from None


def fill_pattern(pattern: str, values: Mapping[str, int | str]) -> str:
    """Return the path that `pattern` names: `{name}` stands for a value, `{name:03d}` for a number of 3 digits.

    Python's own formatting can do far more than that, for example write a number with 10,000,000,000 digits.

    Raises:
        KeyError: If the pattern names something else than `values`.
        ValueError: If there is another kind of field, or the path leads out of the folder of the dataset.
    """
    if set("{}") & set(_FIELD.sub("", pattern)):
        raise ValueError(f"expected a path with fields such as {{chunk_index:03d}}, got {pattern[:80]!r}")
    path = _FIELD.sub(lambda field: f"{values[field[1]]:0{field[2]}d}" if field[2] else str(values[field[1]]), pattern)
    if PurePath(path).is_absolute() or ".." in PurePath(path).parts:
        raise ValueError(f"{path!r} lies outside the dataset")
    return path


def feature_name(key: str, layout: Layout | None) -> str:
    """Return the feature of a LeRobotDataset that holds the array `key` of a SimScaleAI dataset."""
    is_privileged = layout is not None and layout.privileged
    return PRIVILEGED_PREFIX + key.removeprefix(VECTOR_PREFIX) if is_privileged else key


def is_image(key: str, array_type: ArrayType) -> bool:
    """Return whether the array `key` holds colour images."""
    return key.startswith(IMAGE_PREFIX) and array_type.dtype == "uint8" and len(array_type.shape) == 3


def lerobot_features(description: Description) -> dict[str, LeRobotFeature]:
    """Return the features of `info.json` for a SimScaleAI dataset.

    Raises:
        DatasetError: If LeRobot cannot hold one of the arrays.
    """
    features = {
        feature_name(key, description.layout(key)): _lerobot_feature(key, array_type, description.layout(key))
        for key, array_type in description.array_types.items()
    }
    columns = {key: {"dtype": dtype, "shape": [1], "names": None} for key, dtype in FRAME_COLUMNS.items()}
    return features | columns


def arrow_schema(features: Mapping[str, LeRobotFeature]) -> pa.Schema:
    """Return the columns of a data file, with the metadata from which Hugging Face `datasets` reads their types."""
    fields = [pa.field(key, _arrow_type(feature)) for key, feature in features.items()]
    note = {"info": {"features": {key: _datasets_feature(feature) for key, feature in features.items()}}}
    return pa.schema(fields, metadata={"huggingface": json.dumps(note)})


def _lerobot_feature(key: str, array_type: ArrayType, layout: Layout | None) -> LeRobotFeature:
    if "/" in key or key in FRAME_COLUMNS:
        raise DatasetError(f"LeRobot cannot hold a feature called {key!r}")
    shape = array_type.shape
    if is_image(key, array_type):
        return {"dtype": "image", "shape": list(shape), "names": ["height", "width", "channels"]}
    if len(shape) > 1:
        raise DatasetError(f"expected vectors and colour images to export, got {key!r} of shape {shape} at each step")
    names = None if layout is None else layout.entry_names
    return {"dtype": array_type.dtype, "shape": list(shape) or [1], "names": names}


def _arrow_type(feature: LeRobotFeature) -> pa.DataType:
    if feature["dtype"] == "image":
        return IMAGE_TYPE
    single = pa.bool_() if feature["dtype"] == "bool" else pa.type_for_alias(feature["dtype"])
    (size,) = feature["shape"]
    return single if size == 1 else pa.list_(single, size)


def _datasets_feature(feature: LeRobotFeature) -> dict[str, Any]:
    if feature["dtype"] == "image":
        return {"_type": "Image"}
    single = {"dtype": feature["dtype"], "_type": "Value"}
    (size,) = feature["shape"]
    return single if size == 1 else {"feature": single, "length": size, "_type": "Sequence"}
