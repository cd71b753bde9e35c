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
from simscaleai.data.episode_file import DTYPES, DatasetError
from simscaleai.data.keys import ACTION, image_key, vector_key
from simscaleai.files import read_file, replace_file
from simscaleai.json_data import DAMAGE, damage_text, is_of_type, parse_json, plain, read_checked

_MOST_BYTES = 2**26
_DTYPES_OF_KIND = {"f": "float", "u": "uint8"}

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

    def __str__(self) -> str:
        """Return type and shape of the whole array for a message."""
        return f"{self.dtype} ({', '.join(map(str, ('T', *self.shape)))})"


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
            DatasetError: As `check_types`.
        """
        types = {
            key: ArrayType(dtype=values.dtype.name, shape=values.shape[1:]) for key, values in sorted(arrays.items())
        }
        described = replace(self, array_types=types)
        described.check_types()
        return described

    def check_types(self) -> None:
        """Check that the array types agree with the needs.

        Raises:
            DatasetError: If an array that the needs name is missing, has another shape or another kind of numbers, or
                if episode files cannot hold the type of an array.
        """
        for key, array_type in self.array_types.items():
            if array_type.dtype not in DTYPES.values():
                raise DatasetError(f"expected {key!r} as {', '.join(DTYPES.values())}, got {array_type.dtype}")
        expected: dict[str, tuple[str, tuple[int, ...]]] = {
            vector_key(name): ("f", (layout.size,)) for name, layout in self.needs.vectors.items()
        }
        expected |= {image_key(camera): ("u", (*size, 3)) for camera, size in self.needs.cameras.items()}
        for key in (*expected, ACTION):
            if key not in self.array_types:
                raise DatasetError(f"expected an episode with {key!r}, got one with {sorted(self.array_types)}")
            found = self.array_types[key]
            kind, shape = expected.get(key, ("f", found.shape))
            if found.shape != shape or not found.dtype.startswith(_DTYPES_OF_KIND[kind]):
                wanted = ArrayType(dtype=_DTYPES_OF_KIND[kind], shape=shape)
                raise DatasetError(f"expected {key!r} as {wanted}, got {found}")
        if len(self.array_types[ACTION].shape) != 1:
            raise DatasetError(f"expected {ACTION!r} of shape (T, A), got {self.array_types[ACTION]}")

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

    def without_privileged(self) -> Description:
        """Return a copy of the description without the privileged vectors."""
        left_out = {vector_key(name) for name in self.needs.privileged}
        vectors = {name: layout for name, layout in self.needs.vectors.items() if not layout.privileged}
        return replace(
            self,
            needs=replace(self.needs, vectors=vectors),
            array_types={key: array_type for key, array_type in self.array_types.items() if key not in left_out},
        )

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
        data = parse_json(read_file(path, _MOST_BYTES))
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
        is_right = is_of_type(vectors, list[list[float]]) and is_of_type(entry["count"], int)
        if not is_right or len(set(map(len, vectors))) != 1:
            raise ValueError("the statistics are not lists of numbers with a count")
