"""Messages over a socket: they arrive as they were sent, and hostile bytes are refused without harm."""

import json
import socket
import struct
import tempfile
import tracemalloc
from contextlib import suppress
from threading import Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from simscaleai.hosting import wire


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    for each in (ours, theirs):
        each.settimeout(60)
    with ours, theirs:
        yield ours, theirs


def frame(header, arrays=b"", *, magic=wire.MAGIC, header_size=None, array_size=None):
    sizes = (len(header) if header_size is None else header_size, len(arrays) if array_size is None else array_size)
    return struct.pack("<4sIQ", magic, *sizes) + header + arrays


def send_all(connection, raw):
    with suppress(OSError):
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)


def received(raw):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(60)
        sender = Thread(target=send_all, args=(ours, raw))  # the buffer of the socket may be smaller than `raw`
        sender.start()
        try:
            return wire.receive(theirs)
        finally:
            theirs.close()
            sender.join()


def header(arrays=(), body=None):
    return json.dumps({"body": body or {}, "arrays": list(arrays)}).encode()


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()),
    st.dictionaries(
        st.text(),
        st_np.arrays(
            st.sampled_from(["bool", "uint8", "int64", "float32", "float64", ">f8"]),
            st_np.array_shapes(min_dims=0, min_side=0),
        ),
        max_size=3,
    ),
)
def test_messages_arrive_as_they_were_sent(body, arrays):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire.send(ours, body, arrays)
        message = wire.receive(theirs)
    assert message.body == body
    assert message.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(message.arrays[name], array)
        assert message.arrays[name].shape == array.shape
        assert message.arrays[name].dtype == array.dtype.newbyteorder("=")
        assert message.arrays[name].flags.writeable


def test_a_message_that_is_larger_than_the_buffer_of_the_socket(pair):
    images = np.random.default_rng(0).integers(0, 256, (4, 256, 256, 3), dtype=np.uint8)[:, ::2]
    sender = Thread(target=wire.send, args=(pair[0], {}, {"images": images}))
    sender.start()
    np.testing.assert_array_equal(wire.receive(pair[1]).arrays["images"], images)
    sender.join()


@pytest.mark.parametrize(
    "raw",
    {
        "another protocol": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "a huge header": frame(b"", header_size=2**32 - 1),
        "huge arrays": frame(header(), array_size=2**63),
        "no JSON": frame(b"\x80\x04K\x01."),
        "no object": frame(b"[]"),
        "deep nesting": frame(b"[" * 1_000_000),
        "deep nesting of the body": frame(b'{"body":' + b'{"a":' * 500_000),
        "no arrays": frame(b'{"body": {}}'),
        "a huge shape": frame(header([["a", "float64", [2**30, 2**30, 2**30]]]), b"1234"),
        "a negative length": frame(header([["a", "uint8", [-1]]])),
        "a length that is no integer": frame(header([["a", "uint8", [True]]]), b"1"),
        "an object dtype": frame(header([["a", "object", [1]]]), b"12345678"),
        "a structured dtype": frame(header([["a", [["x", "O"]], [1]]]), b"12345678"),
        "many dimensions": frame(header([["a", "uint8", [1] * 9]]), b"1"),
        "many arrays": frame(header([["a", "uint8", [0]]] * 2000)),
        "one name twice": frame(header([["a", "uint8", [1]]] * 2), b"12"),
        "arrays of another size": frame(header([["a", "uint8", [3]]]), b"1234"),
        "half an array": frame(header([["a", "uint8", [3]]]), b"1", array_size=3),
        "half a header": frame(b'{"bo', header_size=20),
        "half a prefix": wire.MAGIC,
    }.values(),
)
def test_hostile_bytes_are_refused_and_take_little_memory(raw):
    tracemalloc.start()
    with pytest.raises(wire.WireError):
        received(raw)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100_000_000


def test_a_signal_arrives_among_messages(pair):
    wire.send_signal(pair[0], wire.Signal(7, 2**60))
    wire.send(pair[0], {"next": 1})
    assert [wire.receive(pair[1]) for _ in range(2)] == [wire.Signal(7, 2**60), wire.Message({"next": 1}, {})]


def test_shared_arrays_are_seen_by_all_who_map_the_file():
    layout = [["a", "float32", [2, 3]], ["b", "uint8", [0]], ["c", "int64", [5]]]
    with tempfile.TemporaryFile(buffering=0) as file:
        file.truncate(wire.shared_bytes(layout))
        ours, theirs = (wire.shared_arrays(file.fileno(), layout) for _ in range(2))
    ours["a"][1, 2], ours["c"][:] = 7, -1
    assert theirs["a"].tolist() == [[0, 0, 0], [0, 0, 7]]
    assert theirs["c"].tolist() == [-1] * 5
    assert theirs["b"].shape == (0,)


@pytest.mark.parametrize(
    "layout",
    [
        [["a", "object", [1]]],
        [["a", "uint8", [-1]]],
        [["a", "uint8", ["1"]]],
        [["a", "uint8"]],
        [["a", "float64", [2**30, 2**30]]],
    ],
)
def test_a_layout_of_shared_arrays_that_is_none_is_refused(layout):
    with pytest.raises(wire.WireError):
        wire.shared_bytes(layout)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 200), st.binary(max_size=3))
def test_damaged_messages_are_refused_or_read(noise, place, patch):
    whole = frame(header([["a", "float32", [2]], ["b", "bool", [1]]], {"x": 1}), b"12345678\x07")
    for raw in (noise, whole[:place], whole[:place] + patch + whole[place + len(patch) :]):
        try:
            message = received(raw)
        except wire.WireError:
            continue
        assert isinstance(message.body, dict)


def test_a_bool_is_zero_or_one():
    array = received(frame(header([["a", "bool", [2]]]), b"\x00\x07")).arrays["a"]
    assert array.view(np.uint8).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("body", "arrays"),
    [({"x": object()}, {}), ({}, {"a": np.array([object()])}), ({}, {"a": np.array(["text"])})],
)
def test_what_a_message_cannot_hold_is_not_sent(pair, body, arrays):
    with pytest.raises(wire.WireError):
        wire.send(pair[0], body, arrays)
    wire.send(pair[0], {"next": 1})
    assert wire.receive(pair[1]).body == {"next": 1}


def test_the_end_of_the_other_process(pair):
    pair[0].close()
    with pytest.raises(wire.Closed):
        wire.receive(pair[1])
