"""The WebSocket server: connections, and limits for what clients may use up.

A connection gets the metadata first. Then every request, a binary frame, gets one reply. A request that the policy or
the server cannot answer gets a text frame that says why, and the connection is closed with the code 1011.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import count
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from policies.base import Policy
from policies.foreign.openpi.announcement import EXTENSION, Announcement
from policies.foreign.openpi.codec import pack
from policies.serving.access import is_authorized
from policies.serving.batching import Batcher, PolicyFailed
from policies.serving.episodes import Episodes, ServerFull
from policies.serving.requests import BadRequest, request_bytes
from policies.serving.session import Service, Session
from simscaleai.contract import ActionSpec, Needs
from simscaleai.errors import PolicyUnavailable

MOST_CONNECTIONS = 512
"""Largest number of open connections."""

MOST_EPISODES = 1024
"""Largest number of live episodes."""

_LOGGER = logging.getLogger(__name__)
_LOGGER.addFilter(lambda record: "handshake" not in record.getMessage())  # anybody can send what is no request
_SPARE_BYTES = 1 << 20
_MOST_UNSENT_BYTES = 4 << 20
_MOST_REASON_BYTES = 123
_SECONDS_BETWEEN_CHECKS = 5.0
_SECONDS_TO_OPEN, _SECONDS_TO_CLOSE = 10.0, 5.0
_SECONDS_BETWEEN_PINGS, _SECONDS_TO_PONG = 30.0, 120.0
_INTERNAL_ERROR, _TRY_AGAIN_LATER = 1011, 1013


@dataclass(frozen=True)
class Traffic:
    """What a server has done since its start."""

    requests: int
    """Requests that the policy answered."""
    batches: int
    """Batches in which it answered them."""
    clients: int
    """Clients that are connected now."""


class PolicyServer:
    """Serves one policy to openpi clients."""

    def __init__(self, policy: Policy, action: ActionSpec, *, rows: int, api_key: str | None = None) -> None:
        """Prepare to serve `policy`, in the running event loop.

        Args:
            policy: The policy.
            action: What its actions are.
            rows: Requests in one call of `policy.predict`, see `Batcher`.
            api_key: What clients must send; None to serve every client.
        """
        self._api_key, self._metadata = api_key, pack(metadata(policy, action))
        self._service = Service(policy.needs, Episodes(MOST_EPISODES), Batcher(policy, rows), count())
        self._connections: set[ServerConnection] = set()
        """Clients."""
        self._opened: set[ServerConnection] = set()
        """Connections, also those that have not sent a request yet."""

    @property
    def traffic(self) -> Traffic:
        """What the server has done so far."""
        batcher = self._service.batcher
        return Traffic(batcher.requests, batcher.batches, len(self._connections))

    async def run(self, host: str, port: int, stop: asyncio.Event, on_start: Callable[[int], None]) -> None:
        """Serve until `stop` is set; then let the policy finish its batch, close the connections, and the policy.

        Args:
            host: Address to listen at.
            port: Port to listen at; 0 for a free one.
            stop: Ends the server.
            on_start: Called with the port when clients can connect.

        Raises:
            OSError: If the server cannot listen there.
        """
        tasks = [asyncio.create_task(self._service.batcher.run()), asyncio.create_task(self._expire())]
        try:
            async with serve(
                self._handle,
                host,
                port,
                process_request=self._respond,
                create_connection=partial(_Connection, self._opened),  # type: ignore[arg-type]
                origins=[None],  # a web page could otherwise use the server through the browser of its reader
                compression=None,
                max_size=most_bytes(self._service.needs),
                max_queue=1,
                open_timeout=_SECONDS_TO_OPEN,
                close_timeout=_SECONDS_TO_CLOSE,
                ping_interval=_SECONDS_BETWEEN_PINGS,
                ping_timeout=_SECONDS_TO_PONG,
                logger=_LOGGER,
            ) as server:
                on_start(server.sockets[0].getsockname()[1])
                await stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            await self._service.batcher.close(_SECONDS_TO_CLOSE)

    async def _handle(self, connection: ServerConnection) -> None:
        session = Session(self._service)
        self._connections.add(connection)
        try:
            await connection.send(self._metadata)
            async for frame in connection:
                await connection.send(await session.reply(frame))
                session.note_sent()
        except ConnectionClosed:
            pass
        except (BadRequest, PolicyFailed) as problem:
            with suppress(ConnectionClosed):
                await connection.send(str(problem))
            await connection.close(_INTERNAL_ERROR, "error; the text frame before says which")
        except (ServerFull, PolicyUnavailable) as problem:  # no fault of the policy: a client may try again
            await connection.close(_TRY_AGAIN_LATER, str(problem).encode()[:_MOST_REASON_BYTES].decode(errors="ignore"))
        finally:
            self._connections.discard(connection)
            session.close()

    def _respond(self, connection: ServerConnection, request: Request) -> Response | None:
        """Return the response to an HTTP request that opens no connection; None to open one."""
        if request.path == "/healthz":
            return connection.respond(HTTPStatus.OK, "OK\n")
        if not is_authorized(request.headers.get_all("Authorization"), self._api_key):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "expected the header 'Authorization: Api-Key KEY'\n")
        if len(self._connections) >= MOST_CONNECTIONS:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"{MOST_CONNECTIONS} clients are connected\n")
        return None

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(_SECONDS_BETWEEN_CHECKS)
            self._service.episodes.expire()


class _Connection(ServerConnection):
    """A connection that is dropped if too many are open, or if its client does not read what the server sends."""

    def __init__(self, opened: set[ServerConnection], *arguments: Any, **keywords: Any) -> None:
        """Let `opened` hold the connection while it is open."""
        super().__init__(*arguments, **keywords)
        self._opened = opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opened.add(self)
        if len(self._opened) > 2 * MOST_CONNECTIONS:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.get_write_buffer_size() > _MOST_UNSENT_BYTES:  # the library answers every ping at once
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._opened.discard(self)
        super().connection_lost(exc)


def metadata(policy: Policy, action: ActionSpec) -> dict[str, Any]:
    """Return what a client is told first: what the policy is and needs, for those that know the seeded extension."""
    identity, options = getattr(policy, "identity", ""), dict(getattr(policy, "options", {}))
    announcement = Announcement(identity=identity, needs=policy.needs, action=action, options=options)
    return {EXTENSION: announcement.to_json()}


def most_bytes(needs: Needs) -> int:
    """Return the largest frame that a client may send [bytes]."""
    return 2 * request_bytes(needs) + _SPARE_BYTES
