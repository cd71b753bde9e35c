"""Messages of the openpi protocol: maps in MessagePack, in which NumPy arrays are maps with bytes as keys.

An array is `{b"__ndarray__": True, b"data": …, b"dtype": "<f4", b"shape": […]}`, a NumPy scalar is
`{b"__npgeneric__": True, b"data": …, b"dtype": …}`. The bytes are those of `openpi_client.msgpack_numpy`. Reading a
message runs no code that it holds, and its sizes are checked before memory is reserved for them.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.foreign.openpi.libraries import import_library

MOST_BYTES = 64 << 20
"""Largest message [bytes]: about a hundred images of 480 × 480 pixels."""
MOST_ITEMS = 16_384
"""Largest number of entries of all maps and lists of a message together. An array counts as one entry."""
MOST_DEPTH = 16
"""Deepest nesting of maps and lists."""

_MOST_DIMENSIONS = 8
_ARRAY, _SCALAR, _DATA, _DTYPE, _SHAPE = b"__ndarray__", b"__npgeneric__", b"data", b"dtype", b"shape"
_KNOWN_DTYPE = re.compile(r"[<>|](b1|[iu][1248]|f[248]|[SU]\d{1,6})")
"""Bools, integers, floats and texts. Objects, records and complex numbers are refused, as openpi does."""


class CodecError(ValueError):
    """Data that cannot be sent, or a frame that is no message."""


def pack(data: Any) -> bytes:
    """Return `data` as a message.

    Args:
        data: Maps with texts as keys, lists, texts, bytes, bools, numbers, None, and arrays and scalars of NumPy.

    Raises:
        CodecError: If `data` holds something else, or the message is larger than `MOST_BYTES`.
    """
    try:
        frame: bytes = import_library("msgpack").packb(data, default=_described)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise CodecError(f"expected data for a message: {error}") from error
    if len(frame) > MOST_BYTES:
        raise CodecError(f"expected a message of at most {MOST_BYTES} bytes, got {len(frame)}")
    return frame


def unpack(frame: bytes) -> dict[str, Any]:
    """Return the map in a message. Its arrays are read-only.

    Raises:
        CodecError: If `frame` is no message, exceeds a limit, or holds no map.
    """
    data = unpack_any(frame)
    if not isinstance(data, dict):
        raise CodecError(f"expected a map as message, got {type(data).__name__}")
    return data


def unpack_any(frame: bytes) -> Any:
    """Return the data in a message, of any type. Arrays are read-only.

    Raises:
        CodecError: If `frame` is no message, or exceeds a limit.
    """
    if not isinstance(frame, bytes) or len(frame) > MOST_BYTES:
        raise CodecError(f"expected a message of at most {MOST_BYTES} bytes, got {_size_text(frame)}")
    msgpack, items = import_library("msgpack"), _Items()
    try:
        data = msgpack.unpackb(
            frame,
            object_hook=items.take_map,
            list_hook=items.take_list,
            max_array_len=MOST_ITEMS,
            max_map_len=MOST_ITEMS,
            max_ext_len=0,
        )
    except CodecError:
        raise
    except (msgpack.UnpackException, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise CodecError(f"expected a message, got something else ({type(error).__name__}: {error})") from error
    _check(data, MOST_DEPTH)
    return data


class _Items:
    """Counts the entries of a message while it is read, and turns maps that describe arrays into arrays."""

    def __init__(self) -> None:
        self._left = MOST_ITEMS

    def take_map(self, entries: dict[Any, Any]) -> Any:
        self._count(len(entries))
        if _ARRAY in entries:
            return _array(entries)
        return _scalar(entries) if _SCALAR in entries else entries

    def take_list(self, entries: list[Any]) -> list[Any]:
        self._count(len(entries))
        return entries

    def _count(self, number: int) -> None:
        self._left -= number
        if self._left < 0:
            raise CodecError(f"expected a message of at most {MOST_ITEMS} entries, got more")


def _check(data: Any, depth: int) -> None:
    """Raise `CodecError` if `data` is nested more than `depth` deep, or holds a type that a message must not hold."""
    if isinstance(data, dict | list):
        if not depth:
            raise CodecError(f"expected a message of at most {MOST_DEPTH} levels, got more")
        if isinstance(data, dict) and not all(isinstance(key, str) for key in data):
            raise CodecError("expected texts as keys of maps, got bytes")
        for value in data.values() if isinstance(data, dict) else data:
            _check(value, depth - 1)
    elif not isinstance(data, str | bytes | bool | int | float | None | np.ndarray | np.generic):
        raise CodecError(f"expected plain data and arrays in a message, got {type(data).__name__}")


# Arrays and scalars


def _described(value: Any) -> dict[bytes, Any]:
    """Return the map that describes an array or a scalar of NumPy."""
    if not isinstance(value, np.ndarray | np.generic):
        raise CodecError(f"cannot send a {type(value).__name__}")
    dtype = _dtype(value.dtype.str).str
    if isinstance(value, np.ndarray):
        return {_ARRAY: True, _DATA: value.tobytes(), _DTYPE: dtype, _SHAPE: value.shape}
    return {_SCALAR: True, _DATA: value.item(), _DTYPE: dtype}


def _array(entries: dict[Any, Any]) -> NDArray[Any]:
    data, dtype, shape = entries.get(_DATA), _dtype(entries.get(_DTYPE)), entries.get(_SHAPE)
    if not isinstance(data, bytes) or not isinstance(shape, list) or len(shape) > _MOST_DIMENSIONS:
        raise CodecError(f"expected an array with data and at most {_MOST_DIMENSIONS} dimensions, got something else")
    if not all(type(length) is int and 0 <= length <= MOST_BYTES for length in shape):
        raise CodecError("expected the lengths of the dimensions as shape of an array, got something else")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise CodecError(f"expected as many bytes as {dtype} of shape {tuple(shape)} takes, got {len(data)}")
    return np.ndarray(tuple(shape), dtype, data)


def _scalar(entries: dict[Any, Any]) -> Any:
    value, dtype = entries.get(_DATA), _dtype(entries.get(_DTYPE))
    if not isinstance(value, bool | int | float) or dtype.kind not in "biuf":
        raise CodecError(f"expected a number as scalar, got {type(value).__name__}")
    return dtype.type(value)


def _dtype(name: Any) -> np.dtype[Any]:
    if not (isinstance(name, str) and _KNOWN_DTYPE.fullmatch(name)):
        raise CodecError(f"expected an array of bools, integers, floats or texts, got the dtype {name!r:.60}")
    return np.dtype(name)


def _size_text(frame: object) -> str:
    return f"{len(frame)} bytes" if isinstance(frame, bytes) else type(frame).__name__
