"""The messages of the openpi protocol: the dialect of openpi_client, round trips, and hostile bytes."""

import contextlib
import math
import tracemalloc

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from policies.foreign.openpi.codec import MOST_BYTES, MOST_DEPTH, MOST_ITEMS, CodecError, pack, unpack, unpack_any

DTYPES = st.one_of(
    npst.boolean_dtypes(),
    npst.integer_dtypes(),
    npst.unsigned_integer_dtypes(),
    npst.floating_dtypes(sizes=(16, 32, 64)),
)
ARRAYS = npst.arrays(DTYPES, npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
SCALARS = DTYPES.flatmap(lambda dtype: npst.from_dtype(np.dtype(dtype))).filter(
    lambda value: value.dtype.byteorder != ">"
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=8), st.binary(max_size=8)
)
DATA = st.recursive(
    LEAVES | ARRAYS | SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def same(one, other):
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        equal_type = isinstance(other, np.ndarray) and (one.dtype, one.shape) == (other.dtype, other.shape)
        return equal_type and one.tobytes() == other.tobytes()
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    if isinstance(one, np.generic) and not isinstance(one, float):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return one == other


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=8), DATA, max_size=4))
def test_what_is_packed_comes_back(data):
    assert same(data, unpack(pack(data)))


def openpi_dialect(value):
    """Return the map of bytes keys for an array or scalar, written from the definition of the protocol."""
    if isinstance(value, np.ndarray):
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=8), DATA, max_size=4))
def test_the_bytes_are_those_of_the_dialect(data):
    assert pack(data) == msgpack.packb(data, default=openpi_dialect)


def test_arrays_are_copied_in_c_order_and_read_only():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)[::-1, ::-1]
    received = unpack(pack({"image": image}))["image"]
    np.testing.assert_array_equal(received, image)
    assert not received.flags.writeable


@pytest.mark.parametrize(
    "value",
    [
        np.array([object()]),
        np.zeros(2, dtype=[("x", "f4")]),
        np.zeros(2, dtype=complex),
        np.complex64(1),
        np.array(["2026-01-01"], dtype="M8[D]"),
        object(),
        {1, 2},
        2**70,
        "\ud800",
    ],
)
def test_what_cannot_be_sent_is_refused(value):
    with pytest.raises(CodecError):
        pack({"value": value})


def test_data_that_contains_itself_is_refused():
    data = {}
    data["data"] = data
    with pytest.raises(CodecError):
        pack(data)


def array_frame(**changes):
    entry = {b"__ndarray__": True, b"data": bytes(8), b"dtype": "<f4", b"shape": [2]}
    entry.update({key.encode(): value for key, value in changes.items()})
    return msgpack.packb({"x": {key: value for key, value in entry.items() if value is not ...}})


HOSTILE = {
    "nothing": b"",
    "no map": msgpack.packb([1]),
    "a number": b"\x01",
    "trailing bytes": msgpack.packb({"a": 1}) + b"\x00",
    "two messages": msgpack.packb({}) * 2,
    "truncated": msgpack.packb({"a": "text"})[:-1],
    "never used byte": b"\xc1",
    "a huge array announced": b"\x81\xa1a\xdd\xff\xff\xff\xff",
    "a huge map announced": b"\xdf\xff\xff\xff\xff",
    "a huge text announced": b"\x81\xa1a\xdb\xff\xff\xff\xff",
    "a huge bin announced": b"\x81\xa1a\xc6\xff\xff\xff\xff",
    "an extension": msgpack.packb({"a": msgpack.ExtType(5, b"xy")}),
    "a time stamp": msgpack.packb({"a": msgpack.Timestamp(1)}),
    "numbers as keys": b"\x81\x01\x02",
    "bytes as keys": msgpack.packb({b"a": 1}),
    "no unicode": b"\x81\xa1a\xa1\xff",
    "deep lists": b"\x81\xa1a" + b"\x91" * 100_000 + b"\xc0",
    "deep maps": b"\x81\xa1a" * (MOST_DEPTH + 1) + b"\xc0",
    "objects": array_frame(dtype="|O"),
    "records": array_frame(dtype="i4,i4"),
    "complex": array_frame(dtype="<c8"),
    "no dtype": array_frame(dtype=...),
    "bytes as dtype": array_frame(dtype=b"<f4"),
    "unknown dtype": array_frame(dtype="<f3"),
    "endless dtype": array_frame(dtype="<U" + "9" * 400),
    "no data": array_frame(data=...),
    "text as data": array_frame(data="12345678"),
    "too little data": array_frame(data=b"1"),
    "too much data": array_frame(shape=[1]),
    "negative shape": array_frame(shape=[-1, -2]),
    "fractional shape": array_frame(shape=[2.0]),
    "bool as shape": array_frame(shape=[True, 2]),
    "no shape": array_frame(shape=...),
    "number as shape": array_frame(shape=2),
    "empty but huge": array_frame(data=b"", shape=[0, 2**60, 2**60]),
    "many dimensions": array_frame(data=bytes(4), shape=[1] * 100),
    "scalar of text": msgpack.packb({"x": {b"__npgeneric__": True, b"data": "1", b"dtype": "<f4"}}),
    "scalar of objects": msgpack.packb({"x": {b"__npgeneric__": True, b"data": 1, b"dtype": "|O"}}),
    "scalar that is too large": msgpack.packb({"x": {b"__npgeneric__": True, b"data": 300, b"dtype": "|u1"}}),
    "scalar that is no integer": msgpack.packb({"x": {b"__npgeneric__": True, b"data": math.nan, b"dtype": "<i4"}}),
}


@pytest.mark.parametrize("frame", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bytes_raise_one_error(frame):
    with pytest.raises(CodecError):
        unpack(frame)


def test_a_text_is_no_message():
    with pytest.raises(CodecError, match="got str"):
        unpack("text")


@pytest.mark.parametrize(
    "frame",
    [
        b"\xdc\x40\x00" + (b"\xdc\x40\x00" + b"\x80" * MOST_ITEMS) * 64,  # a million empty maps, then truncated
        b"\xdc\x40\x00" * 1_000_000,
    ],
    ids=["wide", "deep and wide"],
)
def test_small_frames_take_little_memory(frame):
    tracemalloc.start()
    try:
        with pytest.raises(CodecError):
            unpack_any(frame)
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()


def test_a_frame_above_the_limit_is_not_read():
    with pytest.raises(CodecError, match="at most"):
        unpack(bytes(MOST_BYTES + 1))
    with pytest.raises(CodecError, match="at most"):
        pack({"x": bytes(MOST_BYTES)})


def test_the_limits_are_far_from_what_is_sent():
    images = {f"camera_{number}": np.zeros((480, 640, 3), np.uint8) for number in range(4)}
    request = {"observation": images, "state": [0.5] * (MOST_ITEMS // 4)}
    assert same(request, unpack(pack(request)))


@settings(max_examples=200)
@given(st.binary(max_size=64))
def test_random_bytes_give_data_or_one_error(frame):
    with contextlib.suppress(CodecError):
        unpack_any(frame)


@settings(max_examples=100)
@given(st.dictionaries(st.text(max_size=4), DATA, max_size=3), st.data())
def test_changed_bytes_give_data_or_one_error(data, drawn):
    frame = bytearray(pack(data))
    place = drawn.draw(st.integers(0, len(frame) - 1))
    frame[place] = drawn.draw(st.integers(0, 255))
    with contextlib.suppress(CodecError):
        unpack_any(bytes(frame[: drawn.draw(st.integers(0, len(frame)))]))
