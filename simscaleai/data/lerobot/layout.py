"""Names and shapes of a LeRobotDataset v3.0: where files lie, and how a feature is described there and in Arrow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from simscaleai.data.description import Feature
from simscaleai.data.episode_file import DatasetError

VERSION = "v3.0"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
INFO_PATH = "meta/info.json"
STATISTICS_PATH = "meta/stats.json"
TASKS_PATH = "meta/tasks.parquet"
OWN_PATH = "meta/simscaleai.json"
"""Ours: contract, provenance, and what each episode says about itself."""

FILES_PER_CHUNK = 1000
DATA_FILE_MEGABYTES = 100
VIDEO_FILE_MEGABYTES = 200

IMAGE_PREFIX = "observation.images."
IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""How an embedded image stands in a Parquet file."""

FRAME_COLUMNS: dict[str, str] = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
"""Columns that every LeRobotDataset has: dtype of each, one number per frame."""

LeRobotFeature = dict[str, Any]
"""`dtype`, `shape` and `names`, as they stand in `info.json`."""


def is_image(key: str, feature: Feature) -> bool:
    """Return whether the array `key` holds colour images."""
    return key.startswith(IMAGE_PREFIX) and feature.dtype == "uint8" and len(feature.shape) == 3


def lerobot_features(features: Mapping[str, Feature]) -> dict[str, LeRobotFeature]:
    """Return the features of `info.json` for a dataset of ours.

    Raises:
        DatasetError: If LeRobot has no form for one.
    """
    described = {key: _lerobot_feature(key, feature) for key, feature in features.items()}
    own = {key: {"dtype": dtype, "shape": [1], "names": None} for key, dtype in FRAME_COLUMNS.items()}
    return described | own


def arrow_schema(features: Mapping[str, LeRobotFeature]) -> pa.Schema:
    """Return the columns of a data file, with the note from which Hugging Face `datasets` learns what they mean."""
    fields = [pa.field(key, _arrow_type(feature)) for key, feature in features.items()]
    note = {"info": {"features": {key: _datasets_feature(feature) for key, feature in features.items()}}}
    return pa.schema(fields, metadata={"huggingface": json.dumps(note)})


def _lerobot_feature(key: str, feature: Feature) -> LeRobotFeature:
    if "/" in key or key in FRAME_COLUMNS:
        raise DatasetError(f"LeRobot cannot hold a feature called {key!r}")
    if is_image(key, feature):
        return {"dtype": "image", "shape": list(feature.shape), "names": ["height", "width", "channels"]}
    if len(feature.shape) > 1:
        raise DatasetError(
            f"{key!r} has shape {feature.shape} at each step; LeRobot gets vectors and colour images only"
        )
    return {"dtype": feature.dtype, "shape": list(feature.shape) or [1], "names": _entry_names(feature)}


def _entry_names(feature: Feature) -> list[str] | None:
    if feature.layout is None:
        return None
    return [
        entry["name"] if entry["size"] == 1 else f"{entry['name']}.{number}"
        for entry in feature.layout
        for number in range(entry["size"])
    ]


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
