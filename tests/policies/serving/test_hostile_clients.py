"""Clients that send anything: the server goes on, answers others meanwhile, and does not grow."""

import http.client
import os
import random
import socket
import struct
import threading
import time
import tracemalloc
from contextlib import suppress

import msgpack
import numpy as np
import pytest
from served import Walker, in_process, observation, seeded, serving
from websockets.exceptions import ConnectionClosed, InvalidStatus

from policies.foreign.openpi.codec import pack
from policies.serving import server as server_module


def works(server):
    reply = server.client().ask(seeded(f"check {time.monotonic()}", 2, 0))
    return reply["actions"].tobytes() == in_process(2, 1)[0].tobytes()


def get(server, path, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", path, headers=headers or {})
    response = connection.getresponse()
    return response.status, response.read().decode()


def array(dtype, shape, data=b"x" * 8):
    return {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}


def nested(depth):
    return b"\x91" * depth + b"\xc0"


FRAMES = {
    "empty": b"",
    "no map": msgpack.packb([1, 2]),
    "truncated": pack(observation(0))[:-9],
    "trailing": pack(observation(0)) + b"\x00",
    "nested lists": nested(100_000),
    "nested maps": b"\x81\xa1a" * 50_000 + b"\xc0",
    "object dtype": msgpack.packb({"state": array("|O", [1])}),
    "void dtype": msgpack.packb({"state": array("|V8", [1])}),
    "no dtype": msgpack.packb({"state": array("nonsense", [1])}),
    "huge shape": msgpack.packb({"state": array("<f4", [2**40, 2**40])}),
    "negative shape": msgpack.packb({"state": array("<f4", [-1])}),
    "shape of texts": msgpack.packb({"state": array("<f4", ["a"])}),
    "short data": msgpack.packb({"state": array("<f4", [1000])}),
    "huge list announced": b"\xdd\xff\xff\xff\xff",
    "huge map announced": b"\xdf\xff\xff\xff\xff",
    "huge text announced": b"\xdb\xff\xff\xff\xffabc",
    "extension type": msgpack.packb({"state": msgpack.ExtType(5, b"abc")}),
    "date": msgpack.packb({"state": msgpack.Timestamp(1)}),
    "list as key": b"\x81\x91\x01\x02",
    "text that is no utf-8": b"\x81\xa5state\xa2\xff\xff",
    "pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_that_is_no_request_gets_one_line(server, name):
    client = server.client()
    client.connection.send(FRAMES[name])
    text = client.connection.recv(timeout=60)
    assert isinstance(text, str)
    assert "\n" not in text
    assert len(text) < 400
    with pytest.raises(ConnectionClosed):
        client.connection.recv(timeout=60)
    assert works(server)


def test_a_text_frame_is_no_request(server):
    client = server.client()
    client.connection.send("hello")
    assert "binary" in client.connection.recv(timeout=60)
    assert works(server)


def test_a_frame_that_is_too_large_closes_the_connection(server):
    client = server.client()
    with suppress(ConnectionClosed):
        client.connection.send(b"\xc6" + b"x" * (4 << 20))
    with pytest.raises(ConnectionClosed):
        client.connection.recv(timeout=60)
    assert works(server)


def random_frame(rng):
    """Return noise, or a request with some bytes changed, removed or added."""
    if rng.random() < 0.3:
        return rng.randbytes(rng.randrange(200))
    frame = bytearray(pack(seeded("e", 1, rng.randrange(2))))
    for _ in range(rng.randrange(1, 6)):
        place = rng.randrange(len(frame))
        kind = rng.randrange(3)
        if kind == 0:
            frame[place] = rng.randrange(256)
        elif kind == 1:
            del frame[place : place + rng.randrange(1, 9)]
        else:
            frame[place:place] = rng.randbytes(rng.randrange(1, 9))
    return bytes(frame)


def send_random_frames(server, count):
    rng, client = random.Random(0), server.client()  # noqa: S311
    for _ in range(count):
        try:
            client.connection.send(random_frame(rng))
            client.connection.recv(timeout=60)
        except ConnectionClosed:
            server.clients.remove(client)
            client = server.client()


def test_random_frames(server):
    send_random_frames(server, 200)
    assert works(server)


@pytest.mark.slow
def test_ten_thousand_random_frames_leave_no_memory_behind(server):
    send_random_frames(server, 500)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    send_random_frames(server, 10_000)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 2 << 20
    assert works(server)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00" * 4096,
        b"\x16\x03\x01\x02\x00" + bytes(range(256)),
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 500 + b"\r\n",
        b"GET /" + b"x" * 20_000,
        b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n0123456789",
        b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: short\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_bytes_that_are_no_http_request(server, caplog, sent):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as stranger:
        stranger.sendall(sent)
        stranger.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while stranger.recv(4096):
                pass
    assert works(server)
    assert not caplog.records


def test_connections_that_never_finish_their_request_are_closed(monkeypatch, walker):
    monkeypatch.setattr(server_module, "_SECONDS_TO_OPEN", 0.3)
    monkeypatch.setattr(server_module, "MOST_CONNECTIONS", 10)
    with serving(walker) as server:
        strangers = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(40)]
        for each in strangers:
            with suppress(OSError):
                each.sendall(b"GET / HTTP/1.1\r\nHost: ")
        for each in strangers:
            with suppress(ConnectionResetError):
                assert each.recv(100) == b""
            each.close()
        assert works(server)


def test_more_clients_than_allowed_are_told_so(monkeypatch, walker):
    monkeypatch.setattr(server_module, "MOST_CONNECTIONS", 2)
    with serving(walker) as server:
        for _ in range(2):
            server.client()
        with pytest.raises(InvalidStatus) as refused:
            server.client()
        assert refused.value.response.status_code == 503


def test_a_client_that_vanishes_in_the_middle_of_a_frame(server):
    for _ in range(5):
        client = server.client()
        raw = client.connection.socket
        raw.sendall(b"\x82\xff" + struct.pack(">Q", 100_000) + os.urandom(4) + b"half")
        raw.close()
    assert works(server)


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"\x89\xfd" + bytes(4) + b"x" * 125, id="pings"),
        pytest.param(b"\x00\x80" + bytes(4), id="empty fragments of one message"),
    ],
)
def test_a_client_that_floods_the_server_without_reading_is_dropped(server, frame):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as stranger:
        stranger.sendall(HANDSHAKE)
        assert stranger.recv(12) == b"HTTP/1.1 101"
        if frame[0] == 0:
            stranger.sendall(b"\x02\x80" + bytes(4))
        with pytest.raises(ConnectionError):
            stranger.sendall(frame * 1_000_000)
    assert works(server)


def test_health_is_answered_while_the_policy_computes():
    computes, may_answer = threading.Event(), threading.Event()

    class Computing(Walker):
        def predict(self, observation, slots):
            computes.set()
            assert may_answer.wait(60)
            return super().predict(observation, slots)

    with serving(Computing()) as server:
        client = server.client()
        client.connection.send(pack(observation(0)))
        assert computes.wait(60)
        assert get(server, "/healthz") == (200, "OK\n")
        may_answer.set()
        client.connection.recv(timeout=60)


def test_only_clients_with_the_key_get_in(walker):
    with serving(walker, api_key="open sesame") as server:
        assert get(server, "/healthz") == (200, "OK\n")
        for headers in ({}, {"Authorization": "Api-Key open"}, {"Authorization": "open sesame"}):
            with pytest.raises(InvalidStatus) as refused:
                server.client(additional_headers=headers)
            assert refused.value.response.status_code == 401
        client = server.client(additional_headers={"Authorization": "Api-Key open sesame"})
        assert "actions" in client.ask(observation(0))


def test_a_web_page_does_not_get_in(server):
    with pytest.raises(InvalidStatus) as refused:
        server.client(origin="https://example.com")
    assert refused.value.response.status_code == 403


def test_numbers_that_are_not_finite_reach_the_policy_and_nobody_else(server):
    client = server.client()
    reply = client.ask({**observation(0), "state": np.array([np.nan, np.inf, 1e300])})
    assert np.isnan(reply["actions"]).all()
    assert works(server)
