"""The server of the view: who may ask, for what, and what hostile requests get."""

import http.client
import socket
from contextlib import suppress

import pytest

from eval.view.__main__ import contents
from eval.view.server import ViewServer
from simscaleai.errors import SimScaleError


def get(server, path="", **headers):
    """Returns status, headers and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request("GET", f"/{path}", headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def raw(server, data):
    """Returns what the server answers to these bytes; it may end the connection before it has got all."""
    address = ("127.0.0.1", server.server_port)
    with suppress(OSError), socket.create_connection(address, timeout=60) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))
    return b""


def test_the_page_and_its_parts_allow_only_their_own_scripts(runs, serve):
    server = serve(runs)
    for path, kind in (("", "text/html"), ("view.js", "text/javascript"), ("view.css", "text/css")):
        status, headers, _ = get(server, path)
        assert (status, headers.get_content_type()) == (200, kind)
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_page_of_another_site_cannot_read_the_runs(runs, serve):
    server = serve(runs)
    assert get(server, "data/runs.json", Host="evil.example")[0] == 421
    assert get(server, "data/runs.json", Host=f"localhost:{server.server_port}")[0] == 200
    assert "Access-Control-Allow-Origin" not in get(server, "data/runs.json", Origin="http://evil.example")[1]


def test_it_listens_on_loopback_only(runs, serve):
    assert serve(runs).server_address[0] == "127.0.0.1"


def test_a_port_in_use_is_a_mistake(runs, serve):
    with pytest.raises(SimScaleError, match="choose another --port"):
        ViewServer(contents(runs).answer, serve(runs).server_port)


def test_films_are_served_in_parts(runs, serve, make_run, clip):
    make_run("a", "+", filmed=[0])
    server = serve(runs)
    key = contents(runs).index.rows()["runs"][0]["key"]
    film, content = f"film/{key}/0.mp4", clip.read_bytes()
    assert get(server, film)[2] == content
    status, headers, part = get(server, film, Range="bytes=100-199")
    assert (status, headers["Content-Range"], part) == (206, f"bytes 100-199/{len(content)}", content[100:200])
    assert get(server, film, Range="bytes=100-")[2] == content[100:]
    assert get(server, film, Range=f"bytes={len(content)}-")[0] == 416


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "%2e%2e/secret",
        "film/..%2f..%2fsecret",
        "/etc/passwd",
        "data/run/..%2f..%2f.json",
        "a/run.json",
        "%00",
        "?x",
    ],
)
def test_nothing_outside_is_served(tmp_path, runs, serve, make_run, path):
    (tmp_path / "secret").write_text("secret")
    make_run("a", "+")
    answer = raw(serve(runs), f"GET /{path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
    assert b" 200 " not in answer.splitlines()[0] or path == "?x"
    assert b"secret" not in answer


def test_hostile_bytes_do_not_end_the_server(runs, serve):
    server = serve(runs)
    for data in (
        b"",
        b"\x00" * 1000,
        b"GET\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n",
        b"A" * 100_000,
    ):
        raw(server, data)
    assert get(server)[0] == 200
