"""The arrays of one episode in one immutable safetensors file, which is read through a memory map."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from simscaleai.errors import SimScaleError
from simscaleai.files import file_size, replace_file
from simscaleai.json_data import DAMAGE, damage_text, parse_json

Arrays = dict[str, NDArray[Any]]

DTYPES = {"U8": "uint8", "BOOL": "bool", "I32": "int32", "I64": "int64", "F32": "float32", "F64": "float64"}
"""Name of each type in an episode file to NumPy's name."""


class DatasetError(SimScaleError):
    """A dataset cannot be written or read. The text names the file or folder."""


@dataclass(frozen=True)
class ArrayPlace:
    """Position of one array in an episode file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    """Offset of the first byte in the file."""

    @property
    def end(self) -> int:
        """Offset of the byte after the last byte."""
        return self.start + self.dtype.itemsize * math.prod(self.shape)


def write_episode_file(path: Path, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Write `arrays` to `path` atomically and return the SHA-256 of the file."""
    data = _to_bytes(arrays)
    replace_file(path, data)
    return hashlib.sha256(data).hexdigest()


def episode_sha256(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the SHA-256 of the file that `write_episode_file` would write."""
    return hashlib.sha256(_to_bytes(arrays)).hexdigest()


def read_header(path: Path) -> dict[str, ArrayPlace]:
    """Return the position of each array of an episode file, after a check that the file is complete.

    Raises:
        DatasetError: If the file is missing, truncated, or not a safetensors file.
    """
    try:
        size = file_size(path)
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > size - 8:
                raise ValueError("its header is longer than the file")
            header = parse_json(file.read(length))
        places = {key: _place(entry, 8 + length) for key, entry in header.items() if key != "__metadata__"}
    except FileNotFoundError:
        raise DatasetError(f"episode file {path} is missing; restore it or collect the dataset anew") from None
    except (OSError, *DAMAGE) as error:
        raise DatasetError(
            f"{path} is no readable episode file: {damage_text(error)}; collect the dataset anew"
        ) from None
    expected = max((place.end for place in places.values()), default=0)
    if size != expected:
        raise DatasetError(f"{path} has {size} bytes, its header says {expected}; collect the dataset anew")
    return places


def map_file(path: Path) -> NDArray[np.uint8]:
    """Return the bytes of `path` as a read-only array. They are read from the disk when they are used."""
    return np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)


def read_into(path: Path, start: int, target: NDArray[Any]) -> None:
    """Fill `target`, a contiguous array, with the bytes of `path` from offset `start` on.

    Raises:
        DatasetError: If the file cannot be read or ends too early.
    """
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            count = file.readinto(target.reshape(-1).view(np.uint8).data)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}; restore it") from None
    if count != target.nbytes:
        raise DatasetError(f"{path} became shorter while it was in use; collect the dataset anew")


def arrays_in(content: NDArray[np.uint8], header: Mapping[str, ArrayPlace]) -> Arrays:
    """Return the arrays of an episode file as views into `content`, the bytes of the file."""
    return {key: content[at.start : at.end].view(at.dtype).reshape(at.shape) for key, at in header.items()}


def _to_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    return save({key: np.ascontiguousarray(values) for key, values in arrays.items()})


def _place(entry: Any, data_start: int) -> ArrayPlace:
    begin, end = entry["data_offsets"]
    if entry["dtype"] not in DTYPES:
        raise ValueError(f"dtype {entry['dtype']} is not one of {', '.join(DTYPES)}")
    place = ArrayPlace(np.dtype(DTYPES[entry["dtype"]]), tuple(entry["shape"]), data_start + begin)
    if begin < 0 or min(place.shape, default=0) < 0 or place.end != data_start + end:
        raise ValueError("the shape and the position of an array disagree")
    return place
