"""`dataset.json`: needs, provenance, types of the arrays and statistics of a dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from simscaleai.contract import Layout, Needs
from simscaleai.data.episode_file import DatasetError
from simscaleai.data.keys import ACTION, image_key, vector_key
from simscaleai.files import replace_file
from simscaleai.json_data import DAMAGE, damage_text, is_of_type, parse_json, plain, read_checked

DESCRIPTION_FILE = "dataset.json"
FORMAT = "simscaleai-dataset"
FORMAT_VERSION = 2
"""Version of the format. Version 1 has a contract instead of needs, and stores the layout of each vector twice."""


@dataclass(frozen=True, kw_only=True)
class ArrayType:
    """Type of one array of every episode. The first dimension of the array is time."""

    dtype: str
    """NumPy's name of the type."""
    shape: tuple[int, ...]
    """Shape of one step."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """The content of `dataset.json`."""

    needs: Needs
    """Vectors, cameras, instruction, action and control rate of the episodes, and the environments they come from."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """How the demonstrations were made, the same for all episodes."""
    array_types: dict[str, ArrayType] = field(default_factory=dict)
    """Name of each array to its type; empty before the first episode."""
    statistics: dict[str, Any] = field(default_factory=dict)
    """Name of each float vector to its statistics; empty until the writer is closed."""

    def __post_init__(self) -> None:
        """Check that the needs contain everything that training requires."""
        facts = ("environments", "action", "control_hz")
        missing = [name for name in facts if getattr(self.needs, name) is None]
        if missing:
            raise DatasetError(f"the needs of a dataset must say {', '.join(missing)}")
        if self.needs.history != 1:
            raise DatasetError(f"a dataset stores single observations, got needs with history={self.needs.history}")

    @property
    def fps(self) -> float:
        """Steps per second."""
        return cast(float, self.needs.control_hz)

    def layout(self, key: str) -> Layout | None:
        """Return the layout of array `key`; None if the array is not an observed vector."""
        layouts = {vector_key(name): layout for name, layout in self.needs.vectors.items()}
        return layouts.get(key)

    def with_types_of(self, arrays: Mapping[str, NDArray[Any]]) -> Description:
        """Return a copy of the description with the array types of the first episode, which has `arrays`.

        Raises:
            DatasetError: If an array that the needs name is missing, or has another shape.
        """
        shapes: dict[str, tuple[int, ...]] = {
            vector_key(name): (layout.size,) for name, layout in self.needs.vectors.items()
        }
        shapes |= {image_key(camera): (*size, 3) for camera, size in self.needs.cameras.items()}
        for key in (*shapes, ACTION):
            if key not in arrays:
                raise DatasetError(f"expected an episode with {key!r}, got one with {sorted(arrays)}")
            if arrays[key].shape[1:] != shapes.get(key, arrays[key].shape[1:]):
                raise DatasetError(f"expected {key!r} of shape (T, *{shapes[key]}), got {arrays[key].shape}")
        if arrays[ACTION].ndim != 2:
            raise DatasetError(f"expected {ACTION!r} of shape (T, A), got {arrays[ACTION].shape}")
        types = {
            key: ArrayType(dtype=values.dtype.name, shape=values.shape[1:]) for key, values in sorted(arrays.items())
        }
        return replace(self, array_types=types)

    def check(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Check that an episode has exactly the described arrays.

        Raises:
            DatasetError: If it has other arrays, no steps, arrays of different lengths, or values that are not finite.
        """
        if arrays.keys() != self.array_types.keys():
            raise DatasetError(f"expected an episode with {sorted(self.array_types)}, got one with {sorted(arrays)}")
        for key, array_type in self.array_types.items():
            _check_array(key, arrays[key], array_type)
        lengths = {len(values) for values in arrays.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise DatasetError(f"all arrays of an episode need one length of at least 1, got {sorted(lengths)}")

    def to_json(self) -> dict[str, Any]:
        """Return the description as plain JSON data."""
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "fps": self.fps,
            **plain(asdict(self)),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Description:
        """Rebuild a description from `to_json`, or from a `dataset.json` of version 1.

        Raises:
            SimScaleError: If the data is damaged. The exceptions in `json_data.DAMAGE` are possible, too.
        """
        values = {key: value for key, value in data.items() if key not in ("format", "format_version", "fps")}
        description = read_checked(cls, from_version_1(values) if "contract" in values else values)
        _check_statistics(description.statistics)
        return description


def write_description(folder: Path, description: Description) -> None:
    """Write `dataset.json` atomically."""
    replace_file(folder / DESCRIPTION_FILE, json.dumps(description.to_json(), indent=1) + "\n")


def read_description(folder: Path) -> Description:
    """Read `dataset.json`.

    Raises:
        DatasetError: If the folder holds no dataset, or one that is damaged or of a newer version.
    """
    path = folder / DESCRIPTION_FILE
    if not path.is_file():
        raise DatasetError(f"{folder} is no dataset: it has no {DESCRIPTION_FILE} (python -m eval.collect makes one)")
    try:
        data = parse_json(path.read_bytes())
        found = (data["format"], data["format_version"])
        if found in [(FORMAT, version) for version in range(1, FORMAT_VERSION + 1)]:
            return Description.from_json(data)
    except DAMAGE as error:
        raise DatasetError(f"{path} is damaged: {damage_text(error)}; collect the dataset anew") from None
    raise DatasetError(
        f"{path} is {found[0]} version {found[1]}, this version reads {FORMAT} up to version {FORMAT_VERSION}; "
        "update simscaleai"
    )


def from_version_1(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert JSON data of version 1, which has `contract` and `features`, to the form of version 2."""
    old = ("contract", "features")
    return {key: value for key, value in values.items() if key not in old} | {
        "needs": Needs.from_json(values["contract"]).to_json(),
        "array_types": {
            key: {"dtype": entry["dtype"], "shape": entry["shape"]} for key, entry in values["features"].items()
        },
    }


def _check_array(key: str, values: NDArray[Any], expected: ArrayType) -> None:
    if values.dtype != expected.dtype or values.shape[1:] != expected.shape:
        raise DatasetError(
            f"expected {key!r} as {expected.dtype} (T, *{expected.shape}), got {values.dtype} {values.shape}"
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DatasetError(f"{key!r} holds a value that is not finite")


def _check_statistics(statistics: Mapping[str, Any]) -> None:
    for entry in statistics.values():
        vectors = [entry[name] for name in ("mean", "std", "min", "max")]
        if not (is_of_type(vectors, list[list[float]]) and is_of_type(entry["count"], int)):
            raise ValueError("the statistics are not lists of numbers with a count")
