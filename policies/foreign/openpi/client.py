"""Connections to a policy server that speaks the openpi protocol over WebSocket.

On connection the server sends its metadata. Then each request gets one reply, in the same order. A reply in text is the
traceback of an error, after which the server closes the connection, or the answer to a reset in the RoboArena dialect.
"""

from __future__ import annotations

import copy
import os
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from itertools import chain, repeat
from typing import Any
from urllib.parse import urlsplit

from policies.foreign.openpi.announcement import API_KEY_VARIABLE
from policies.foreign.openpi.codec import MOST_BYTES, CodecError, unpack
from policies.foreign.openpi.libraries import import_library
from simscaleai.errors import PolicyUnavailable, SimScaleError, exception_text
from simscaleai.hosting.process import supervise

SECONDS_TO_OPEN = 5.0
"""Time for which the first connection is tried [s]."""
SECONDS_TO_RECONNECT = 30.0
"""Time for which a lost connection is opened again [s]: enough for a server that is started again."""
SECONDS_TO_ANSWER = 300.0
"""Time for the reply to a request [s]. For its first request, a server may compile its model."""
RESET_REPLY = "reset successful"
"""Reply to a reset in the RoboArena dialect."""

_SECONDS_TO_SHAKE_HANDS = 10.0
_SECONDS_TO_CLOSE = 1.0
_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Pauses between tries to connect [s]; the last one is repeated."""
_AT_ONCE = 8
"""Requests that are sent before their replies are read."""
_MOST_TEXT = 8000
"""Characters of a traceback that are kept, from its end."""


class ServedPolicyError(Exception):
    """The server reports an error of its policy. The text is the server's."""


class Server:
    """A policy server. A lost connection is opened again when it is needed. One thread at a time may ask."""

    def __init__(
        self,
        url: str,
        *,
        seconds_to_open: float = SECONDS_TO_OPEN,
        seconds_to_reconnect: float = SECONDS_TO_RECONNECT,
        seconds_to_answer: float = SECONDS_TO_ANSWER,
    ) -> None:
        """Connect.

        Args:
            url: Address, "ws://HOST:PORT" or "wss://HOST:PORT".
            seconds_to_open: Time for which the first connection is tried [s].
            seconds_to_reconnect: Time for which a lost connection is opened again [s].
            seconds_to_answer: Time for the reply to a request [s].

        Raises:
            SimScaleError: If there is no such server, it refuses the connection, or it sends no metadata.
        """
        _check_url(url)
        self.url = url
        self._seconds_to_reconnect, self._seconds_to_answer = seconds_to_reconnect, seconds_to_answer
        self._stack = ExitStack()
        self._connection: Any = None
        self._is_missing = False
        """Whether the latest attempt to open the lost connection was in vain. Then the next one is a single try."""
        self.is_busy = self._is_interrupted = False
        supervise(self)
        try:
            self.greeting = self._connect(seconds_to_open)
            self.metadata = unpack(self.greeting)
        except (PolicyUnavailable, CodecError) as error:
            self.close()
            raise SimScaleError(
                f"no policy server to use at {url}: {error}; start one, or correct --model ws://HOST:PORT"
            ) from error

    def ask(self, requests: Sequence[bytes], *, may_repeat: bool) -> list[bytes | str]:
        """Send requests, and return the reply to each: a message, or the text `RESET_REPLY`.

        Args:
            requests: Packed requests.
            may_repeat: Whether to send the requests again if the connection is lost.

        Raises:
            ServedPolicyError: If a reply is a traceback.
            PolicyUnavailable: If the server cannot be reached, is silent, or is another one than before.
        """
        self._is_interrupted = False
        self.is_busy = True  # from here on, another thread may interrupt
        try:
            if self._connection is not None:
                try:
                    return self._exchange(requests)
                except ConnectionError:
                    if self._is_interrupted or not may_repeat:
                        raise
            self._reconnect()
            return self._exchange(requests)
        except ConnectionError as error:
            raise PolicyUnavailable(f"{self.url}: {error}") from error
        finally:
            self.is_busy = False

    def another(self) -> Server:
        """Return a second connection to the same server. It is opened when it is needed."""
        other = copy.copy(self)
        other._stack, other._connection, other._is_missing = ExitStack(), None, False
        supervise(other)
        return other

    def kill(self) -> None:
        """End the wait of another thread for a reply: its call of `ask` raises `PolicyUnavailable`."""
        self._is_interrupted = True
        if (connection := self._connection) is not None:
            with suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._connection = None
        with suppress(OSError):
            self._stack.close()

    # Requests

    def _exchange(self, requests: Sequence[bytes]) -> list[bytes | str]:
        """Send requests over the open connection, and return the replies. After an error, the connection is closed.

        Raises:
            ServedPolicyError: If a reply is a traceback.
            PolicyUnavailable: If the server is silent.
            ConnectionError: If the connection is lost.
        """
        replies: list[bytes | str] = []
        closed = import_library("websockets.exceptions").ConnectionClosed
        try:
            for number, request in enumerate(requests):
                if number >= len(replies) + _AT_ONCE:
                    replies.append(self._receive(self._seconds_to_answer))
                self._connection.send(request)
            while len(replies) < len(requests):
                replies.append(self._receive(self._seconds_to_answer))
            return replies
        except TimeoutError:
            raise PolicyUnavailable(f"{self.url} has not answered for {self._seconds_to_answer:g} s") from None
        except (closed, OSError) as error:
            with suppress(closed, OSError):  # a traceback may have come before the end
                while True:
                    self._receive(0.0)
            raise ConnectionError(f"the connection was lost ({exception_text(error)})") from error
        finally:
            if len(replies) < len(requests):
                self.close()

    def _receive(self, seconds: float) -> bytes | str:
        reply: bytes | str = self._connection.recv(seconds)
        if isinstance(reply, str) and reply != RESET_REPLY:
            raise ServedPolicyError(f"the server at {self.url} reports an error:\n{reply[-_MOST_TEXT:]}")
        return reply

    # Connections

    def _reconnect(self) -> None:
        self.close()
        was_missing, self._is_missing = self._is_missing, True
        try:
            greeting = self._connect(0.0 if was_missing else self._seconds_to_reconnect)
        except PolicyUnavailable as error:
            self.close()
            raise PolicyUnavailable(f"{self.url}: {error}") from error
        if greeting != self.greeting:
            self.close()
            raise PolicyUnavailable(f"{self.url} is another server than before: its metadata has changed")
        self._is_missing = False

    def _connect(self, seconds: float) -> bytes:
        """Open the connection, trying for some `seconds`, and return the first message of the server.

        Raises:
            PolicyUnavailable: If no server accepts the connection, or its first message is text.
        """
        deadline = time.monotonic() + seconds
        exceptions = import_library("websockets.exceptions")
        pauses = chain(_PAUSES, repeat(_PAUSES[-1]))
        while True:
            try:
                return self._open()
            except (OSError, exceptions.WebSocketException) as error:
                self.close()
                pause, refusal = next(pauses), _refusal(error)
                if refusal or self._is_interrupted or time.monotonic() + pause > deadline:
                    raise PolicyUnavailable(refusal or exception_text(error)) from error
            time.sleep(pause)

    def _open(self) -> bytes:
        key = os.environ.get(API_KEY_VARIABLE)
        self._connection = self._stack.enter_context(
            import_library("websockets.sync.client").connect(
                self.url,
                compression=None,
                max_size=MOST_BYTES,
                additional_headers={"Authorization": f"Api-Key {key}"} if key else None,
                proxy=None,
                ping_interval=None,  # a server that computes for long answers no ping
                open_timeout=_SECONDS_TO_SHAKE_HANDS,
                close_timeout=_SECONDS_TO_CLOSE,
            )
        )
        _limit_sending(self._connection.socket, self._seconds_to_answer)
        greeting: bytes | str = self._connection.recv(_SECONDS_TO_SHAKE_HANDS)
        if isinstance(greeting, str):
            raise PolicyUnavailable(f"expected metadata as first message, got the text {greeting!r:.200}")
        return greeting


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_complete = parts.hostname and (parts.port or parts.scheme == "wss")
    except ValueError:  # a port that is no number
        is_complete = False
    if not is_complete:
        raise SimScaleError(f"expected --model ws://HOST:PORT, such as ws://localhost:8000, got {url!r}")


def _refusal(error: Exception) -> str:
    """Return why the server refuses the connection; "" if another try could succeed."""
    exceptions = import_library("websockets.exceptions")
    if isinstance(error, exceptions.InvalidStatus) and error.response.status_code < 500:
        status = error.response.status_code
        hint = f"; set {API_KEY_VARIABLE} to its key" if status in (401, 403) else ""
        return f"it refuses the connection (HTTP {status}{hint})"
    return exception_text(error) if isinstance(error, exceptions.InvalidURI) else ""


def _limit_sending(connection: socket.socket, seconds: float) -> None:
    """Let sending to a server that does not read raise an error after some `seconds`."""
    if os.name == "posix":
        whole = int(seconds)
        limit = struct.pack("ll", whole, int(1e6 * (seconds - whole)))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
