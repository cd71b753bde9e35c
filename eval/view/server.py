"""Serves the view on this machine, to browsers of this machine only."""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from threading import BoundedSemaphore
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from eval.view.answer import Answer
from simscaleai.errors import SimScaleError

HOST = "127.0.0.1"
_MOST_CONNECTIONS = 32
_PATIENCE = 30  # [s] for a request or a piece of an answer
_PIECE = 1 << 16  # [bytes]
_RANGE = re.compile(r"bytes=(\d{1,15})-(\d{1,15})?")


class ViewServer(ThreadingHTTPServer):
    """Answers a bounded number of connections at once."""

    daemon_threads = True
    request_queue_size = _MOST_CONNECTIONS

    def __init__(self, answer: Callable[[str], Answer], port: int) -> None:
        """Listen on `port` of the loopback interface; 0 for a free one.

        Raises:
            SimScaleError: If the port is in use.
        """
        self.answer = answer
        self._free = BoundedSemaphore(_MOST_CONNECTIONS)
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise SimScaleError(f"cannot listen on {HOST}:{port} ({error}); choose another --port") from error
        self.names = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}
        """What browsers call this server. A page of another site that resolves to this machine uses its own name."""

    @property
    def url(self) -> str:
        """Address of the first page."""
        return f"http://{HOST}:{self.server_port}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread; refuse the connection if too many are open."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """Say nothing about browsers that go away."""


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    server: ViewServer
    timeout = _PATIENCE
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "SimScaleAI", ""

    def do_GET(self) -> None:
        """Answer a request."""
        if self.headers.get("Host") not in self.server.names:
            return self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "expected the address that the command printed")
        try:
            answer = self.server.answer(urlsplit(self.path).path.lstrip("/"))
        except (SimScaleError, OSError, ValueError) as error:
            return self._refuse(HTTPStatus.NOT_FOUND, str(error))
        if isinstance(answer.body, bytes):
            self._begin(HTTPStatus.OK, answer.kind, len(answer.body), answer.policy)
            self._write(answer.body)
        else:
            with answer.body.open("rb") as file:
                self._send_part(file, answer)
        return None

    do_HEAD = do_GET

    def _send_part(self, file: BinaryIO, answer: Answer) -> None:
        """Send the file, or the part that the request asks for."""
        size = file.seek(0, 2)
        wanted = _RANGE.fullmatch(self.headers.get("Range") or "")
        first = int(wanted[1]) if wanted else 0
        last = min(int(wanted[2]), size - 1) if wanted and wanted[2] else size - 1
        if wanted and not first <= last:
            return self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "expected a part of the file")
        part = {"Content-Range": f"bytes {first}-{last}/{size}"} if wanted else {}
        status = HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK
        self._begin(status, answer.kind, last - first + 1, answer.policy, {"Accept-Ranges": "bytes", **part})
        file.seek(first)
        for start in range(first, last + 1, _PIECE):
            self._write(file.read(min(_PIECE, last + 1 - start)))
        return None

    def _begin(
        self, status: HTTPStatus, kind: str, size: int, policy: str, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        text = "; charset=utf-8" if kind.startswith(("text/", "application/json")) else ""
        fixed = {
            "Content-Type": f"{kind}{text}",
            "Content-Length": str(size),
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }
        for name, value in (fixed | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()

    def _write(self, data: bytes) -> None:
        if self.command != "HEAD":
            self.wfile.write(data)

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        text = f"{reason}\n".encode(errors="replace")
        self._begin(status, "text/plain", len(text), "default-src 'none'")
        self._write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in the base class
        """Print nothing about single requests."""


def serve_until_interrupted(server: ViewServer) -> None:
    """Answer requests until Ctrl-C."""
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
