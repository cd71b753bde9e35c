"""Messages between two processes over a socket: a JSON object, and NumPy arrays with names. And arrays that they share.

This file runs under Python 3.8 and imports the standard library and NumPy alone. A host, which runs in another
interpreter, loads it by its path. Nothing that is received can run code, and no size is believed before it is checked.

A message is a frame: four bytes `MAGIC`, the length of the header (4 bytes) and of all arrays together (8 bytes), both
little-endian; then the header, a JSON object `{"body": {…}, "arrays": [[name, dtype, shape], …]}`; then the bytes of
the arrays, little-endian, in the order of the header.

A signal is a short message for calls that come at every control step: four bytes `SIGNAL`, a code (4 bytes) and a
number (8 bytes). What the call is about lies in arrays in a file that both processes have mapped (`shared_arrays`).
"""

from __future__ import annotations

import json
import math
import mmap
import struct
from collections.abc import Mapping, Sequence
from socket import socket
from typing import Any, NamedTuple

import numpy as np

MAGIC, SIGNAL = b"SIM1", b"SIG1"
MOST_HEADER_BYTES = 4 << 20
"""Largest header of a message [bytes]."""
MOST_ARRAY_BYTES = 1 << 30
"""Largest size of all arrays of a message together [bytes]."""
MOST_SHARED_BYTES = 1 << 33
"""Largest size of all shared arrays together [bytes]."""

_PREFIX = struct.Struct("<4sIQ")
_KINDS = ("bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)))
_DTYPES = {name: np.dtype(name).newbyteorder("<") for name in (*_KINDS, "float16", "float32", "float64")}
_NAMES = {dtype.str: name for name, dtype in _DTYPES.items()}
_encode = json.JSONEncoder(separators=(",", ":")).encode
_MOST_ARRAYS = 1024
_MOST_DIMENSIONS = 8
_ALIGNMENT = 64
_JOINED_BYTES = 1 << 16
"""Messages up to this size are sent by one call of the system."""


class WireError(Exception):
    """What the other process sent is no message. The connection is of no use any more."""


class Closed(WireError):
    """The other process has closed the connection."""


class Message(NamedTuple):
    """One message."""

    body: dict[str, Any]
    """JSON data."""
    arrays: dict[str, np.ndarray]
    """Arrays by name; the receiver owns them."""


class Signal(NamedTuple):
    """One signal."""

    code: int
    """What to do; below 2**32."""
    number: int
    """How often, for example; below 2**64."""


def send(connection: socket, body: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> None:
    """Send a message.

    Args:
        connection: Socket to the other process.
        body: JSON data.
        arrays: Arrays of bools, integers or floats by name.

    Raises:
        WireError: If the message is too large, or holds what a message cannot hold. Nothing is sent then.
        OSError: If the other process is gone, or does not read within the timeout of the socket.
    """
    contents = [_described(name, array) for name, array in (arrays or {}).items()]
    try:
        text = _encode({"body": body, "arrays": [entry for entry, _ in contents]})
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(f"expected JSON data in a message, got something else ({error})") from None
    header, size = text.encode(), sum(array.nbytes for _, array in contents)
    _check_sizes(len(header), size)
    parts: list[Any] = [_PREFIX.pack(MAGIC, len(header), size), header, *(_bytes(array) for _, array in contents)]
    if len(header) + size <= _JOINED_BYTES:
        parts = [b"".join(parts)]
    for part in parts:
        connection.sendall(part)


def send_signal(connection: socket, signal: Signal) -> None:
    """Send a signal.

    Raises:
        OSError: If the other process is gone, or does not read within the timeout of the socket.
    """
    connection.sendall(_PREFIX.pack(SIGNAL, *signal))


def receive(connection: socket) -> Message | Signal:
    """Wait for a message or a signal and return it.

    Raises:
        Closed: If the other process has closed the connection.
        WireError: If what comes is no message, or too large.
        OSError: If nothing comes within the timeout of the socket.
    """
    magic, header_size, array_size = _PREFIX.unpack(_read(connection, _PREFIX.size))
    if magic == SIGNAL:
        return Signal(header_size, array_size)
    if magic != MAGIC:
        raise WireError(f"expected a message, which begins with {MAGIC!r}, got {magic!r}")
    _check_sizes(header_size, array_size)
    body, entries = _parse(_read(connection, header_size))
    if array_size != sum(map(_size, entries)):
        raise WireError(f"expected arrays of {array_size} bytes together, the header describes others")
    return Message(body, _read_arrays(connection, entries, array_size))


def shared_bytes(layout: Sequence[Any]) -> int:
    """Return the size of a file that can hold the arrays of `layout` [bytes].

    Args:
        layout: Name, dtype and shape of each array, as in the header of a message.

    Raises:
        WireError: If the layout is none, or needs too much.
    """
    size = sum(_aligned(_entry(each)) for each in layout)
    if size > MOST_SHARED_BYTES:
        raise WireError(f"expected shared arrays of at most {MOST_SHARED_BYTES} bytes, got {size}")
    return size


def shared_arrays(file: int, layout: Sequence[Any]) -> dict[str, np.ndarray]:
    """Map the arrays of `layout` from a file that another process maps, too. They stay mapped as long as one is in use.

    Args:
        file: Descriptor of the file.
        layout: Name, dtype and shape of each array, as in the header of a message.

    Raises:
        WireError: If the layout is none, or needs too much.
        OSError: If the file cannot be mapped.
        ValueError: If the file is too short.
    """
    buffer, arrays, place = mmap.mmap(file, shared_bytes(layout)), {}, 0
    for entry in map(_entry, layout):
        arrays[entry.name] = np.ndarray(entry.shape, entry.dtype, buffer, place)
        place += _aligned(entry)
    return arrays


class Entry(NamedTuple):
    """What the header says of an array."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


def _described(name: str, array: np.ndarray) -> tuple[list[Any], np.ndarray]:
    """Return the entry of an array in the header, and the array as it is sent."""
    dtype = array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else array.dtype
    name_of_dtype = _NAMES.get(dtype.str)
    if name_of_dtype is None or array.ndim > _MOST_DIMENSIONS:
        raise WireError(f"expected arrays of numbers with at most {_MOST_DIMENSIONS} dimensions, got {array.dtype}")
    return [name, name_of_dtype, array.shape], np.ascontiguousarray(array, dtype=dtype).reshape(-1)


def _check_sizes(header: int, arrays: int) -> None:
    if header > MOST_HEADER_BYTES or arrays > MOST_ARRAY_BYTES:
        raise WireError(
            f"expected a message with a header of at most {MOST_HEADER_BYTES} bytes and arrays of at most "
            f"{MOST_ARRAY_BYTES}, got {header} and {arrays}"
        )


def _parse(header: bytearray) -> tuple[dict[str, Any], list[Entry]]:
    """Return the body, and name, dtype and shape of each array."""
    try:
        data = json.loads(header.decode())
    except (ValueError, RecursionError) as error:
        raise WireError(f"expected a header in JSON, got something else ({type(error).__name__})") from None
    if not isinstance(data, dict) or not isinstance(data.get("body"), dict) or not isinstance(data.get("arrays"), list):
        raise WireError("expected a header with a body and arrays, got something else")
    entries = [_entry(each) for each in data["arrays"][: _MOST_ARRAYS + 1]]
    if len(entries) > _MOST_ARRAYS or len({name for name, _, _ in entries}) < len(entries):
        raise WireError(f"expected at most {_MOST_ARRAYS} arrays with different names, got others")
    return data["body"], entries


def _entry(data: Any) -> Entry:
    if isinstance(data, list) and len(data) == 3:
        name, dtype, shape = data
        is_known = isinstance(name, str) and isinstance(dtype, str) and dtype in _DTYPES
        if is_known and isinstance(shape, list) and len(shape) <= _MOST_DIMENSIONS and all(map(_is_length, shape)):
            return Entry(name, _DTYPES[dtype], tuple(shape))
    raise WireError("expected the name, dtype and shape of an array, got something else")


def _is_length(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST_ARRAY_BYTES


def _size(entry: Entry) -> int:
    """Return the bytes of an array."""
    return int(entry.dtype.itemsize) * math.prod(entry.shape)


def _aligned(entry: Entry) -> int:
    """Return the bytes of an array in shared memory. Each begins on a cache line of its own."""
    return -(-_size(entry) // _ALIGNMENT) * _ALIGNMENT


def _read(connection: socket, size: int) -> bytearray:
    """Return the next `size` bytes."""
    buffer = bytearray(size)
    _fill(connection, memoryview(buffer))
    return buffer


def _read_arrays(connection: socket, entries: list[Entry], size: int) -> dict[str, np.ndarray]:
    """Return the arrays of a message. Small ones share one buffer, which is read at once."""
    if size > _JOINED_BYTES:
        return {entry.name: _shaped(_read(connection, _size(entry)), 0, entry) for entry in entries}
    buffer, arrays, place = _read(connection, size), {}, 0
    for entry in entries:
        arrays[entry.name] = _shaped(buffer, place, entry)
        place += _size(entry)
    return arrays


def _shaped(buffer: bytearray, place: int, entry: Entry) -> np.ndarray:
    """Return the array that begins at `place` of `buffer`."""
    if not _size(entry):
        return np.empty(entry.shape, dtype=entry.dtype)
    if entry.dtype.kind == "b":  # a bool that is neither 0 nor 1 would not behave like one
        flags = np.frombuffer(buffer, np.uint8, _size(entry), place)
        np.minimum(flags, 1, out=flags)
    return np.ndarray(entry.shape, entry.dtype, buffer, place)


def _bytes(flat: np.ndarray) -> memoryview:
    """Return the bytes of a contiguous array of one dimension, without a copy."""
    view: Any = flat.view(np.uint8)
    return memoryview(view)


def _fill(connection: socket, view: memoryview) -> None:
    while len(view):
        count = connection.recv_into(view)
        if count == 0:
            raise Closed("the connection is closed")
        view = view[count:]
