"""A host: a process in another interpreter that answers calls. It is started, supervised and ended here."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol

from numpy.typing import NDArray

from simscaleai.errors import SimScaleError
from simscaleai.hosting import wire
from simscaleai.hosting.memory import keep_freed_memory

SECONDS_TO_START = 300.0
"""Time for the first answer of a host [s]. Importing a simulator from a cold disk takes long."""

SECONDS_TO_ANSWER = 3600.0
"""Time for every other answer [s]: the last resort where no watchdog kills hosts earlier."""

ONE_THREAD_EACH = dict.fromkeys(("LP_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Environment variables that limit libraries to one thread."""

_SECONDS_TO_EXIT = 5.0
_BUFFER_BYTES = 1 << 20
_LINES_KEPT, _LINE_LENGTH = 20, 400
_LIVE: weakref.WeakSet[Supervised] = weakref.WeakSet()


class HostLost(Exception):
    """The host has exited, was killed, or sent what is no message. The text says which, in one line."""


class HostError(Exception):
    """The host answers that a call failed."""

    def __init__(self, kind: str, text: str, slot: int | None) -> None:
        """Build the error.

        Args:
            kind: "mistake" of the user, "fault" of what is hosted, or "policy" for an exception of a hosted policy.
            text: What happened, in one line.
            slot: Slot in which it happened; None if that is not known.
        """
        super().__init__(text)
        self.kind, self.slot = kind, slot


class HostProcess:
    """One host. It ends with this process, however this process ends."""

    def __init__(self, python: Path, script: Path, *, python_path: str | None = None) -> None:
        """Start the host.

        Args:
            python: The interpreter.
            script: What it runs. It gets the numbers of two sockets: for messages, and one that closes when this
                process ends.
            python_path: PYTHONPATH of the host; None for none, so that no package of this interpreter gets in.

        Raises:
            SimScaleError: If the interpreter cannot be started, or this system has no such sockets.
        """
        if os.name != "posix":
            raise SimScaleError("environments in another interpreter need Linux or macOS; use WSL on Windows")
        self._connection, theirs = socket.socketpair()
        self._lifeline, its_end = socket.socketpair()
        for each in (self._connection, theirs):  # an image then passes in one piece
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        self._limit_wait(SECONDS_TO_START)
        self._has_answered = False
        self._shared_file = _memory_file()
        files: tuple[socket.socket | IO[bytes], ...] = (self._connection, self._lifeline, self._shared_file)
        try:
            with theirs, its_end:
                numbers = (theirs.fileno(), its_end.fileno())
                command = [str(python), str(script), *map(str, numbers)]
                self._process = _start(command, (*numbers, self._shared_file.fileno()), python_path)
        except OSError as error:
            for file in files:
                file.close()
            raise SimScaleError(f"cannot start {python} ({error.strerror}); give the path of a Python") from error
        self._last_lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._reader = threading.Thread(target=_keep_lines, args=(self._process.stderr, self._last_lines), daemon=True)
        self._reader.start()
        self.is_busy = False
        """Whether a call waits for its answer."""
        self._finalizer = weakref.finalize(self, _end, self._process, *files)
        supervise(self)

    def call(
        self, name: str, arrays: Mapping[str, NDArray[Any]] | None = None, **values: Any
    ) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Call `name` with `values` (JSON data) and `arrays`, and return the values and arrays of the answer.

        The first answer must come within `SECONDS_TO_START`, later ones within `SECONDS_TO_ANSWER`. `kill_busy_hosts`
        ends the wait earlier.

        Raises:
            HostError: If the call failed. The host can be used further.
            HostLost: If the host ended, or its answer is no message. It cannot be used further.
        """
        answer = self._answer_to(lambda: wire.send(self._connection, {"call": name, **values}, arrays))
        if isinstance(answer, wire.Signal):
            raise HostLost(self._reason(wire.WireError("expected a message, got a signal")))
        return answer

    def share(self, layout: Sequence[Any], **values: Any) -> dict[str, NDArray[Any]]:
        """Call "share" with `values` (JSON data), and return arrays that this process and the host both see.

        What is copied from them at every step is as large as they are, so this process keeps freed memory from now on.

        Args:
            layout: Name, dtype and shape of each array.
            **values: Sent to the host with the layout.

        Raises:
            SimScaleError: If there is not enough memory.
            HostError: If the call failed.
            HostLost: If the host ended, or its answer is no message.
        """
        file = self._shared_file.fileno()
        try:
            os.ftruncate(file, wire.shared_bytes(layout))
            arrays = wire.shared_arrays(file, layout)
        except (wire.WireError, OSError) as error:
            raise SimScaleError(f"cannot share memory with the host ({error}); use a smaller --num-envs") from error
        self.call("share", file=file, layout=layout, **values)
        keep_freed_memory()
        return arrays

    def signal(self, code: int, number: int) -> None:
        """Make the call that `share` has agreed on as `code`. Its arguments and its result lie in the shared arrays.

        Raises:
            HostError: If the call failed.
            HostLost: If the host ended, or its answer is no message.
        """
        signal = wire.Signal(code, number)
        if self._answer_to(lambda: wire.send_signal(self._connection, signal)) != signal:
            raise HostLost(self._reason(wire.WireError("expected the signal back, got something else")))

    def _answer_to(self, send: Callable[[], None]) -> wire.Message | wire.Signal:
        self.is_busy = True
        try:
            send()
            answer = wire.receive(self._connection)
        except (wire.WireError, OSError) as error:
            raise HostLost(self._reason(error)) from None
        finally:
            self.is_busy = False
        if not self._has_answered:
            self._has_answered = True
            self._limit_wait(SECONDS_TO_ANSWER)
        if isinstance(answer, wire.Message) and "error" in answer.body:
            raise HostError(str(answer.body["error"]), str(answer.body.get("text")), answer.body.get("slot"))
        return answer

    def _limit_wait(self, seconds: float) -> None:
        """Limit the time of each wait. The system counts it, which is faster than a timeout of Python's socket."""
        limit = struct.pack("ll", int(seconds), 0)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._connection.setsockopt(socket.SOL_SOCKET, option, limit)

    def kill(self) -> None:
        """End the process at once. A call that waits raises `HostLost`."""
        _kill(self._process)

    def close(self) -> None:
        """End the process: it exits by itself when its connection is closed, otherwise it is killed."""
        self._finalizer()
        self._reader.join(_SECONDS_TO_EXIT)

    def _reason(self, error: Exception) -> str:
        """End the host and return in one line why it is lost."""
        silent = isinstance(error, BlockingIOError)
        if not isinstance(error, wire.Closed):
            self.kill()
        self.close()
        code = self._process.returncode
        how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
        what = "gave no answer and was killed" if silent else f"ended ({how})"
        if isinstance(error, wire.WireError) and not isinstance(error, wire.Closed):
            what = f"sent no message ({error})"
        last = f"; its last line: {self._last_lines[-1]}" if self._last_lines else ""
        return f"the host process {what}{last}"


class Supervised(Protocol):
    """What answers the calls of this process from elsewhere: a host, or a connection to a server."""

    is_busy: bool
    """Whether a call waits for its answer."""

    def kill(self) -> None:
        """Let a call that waits raise an error, from any thread."""


def supervise(answering: Supervised) -> None:
    """Let `kill_busy_hosts` end the waits for `answering`, as long as it exists."""
    _LIVE.add(answering)


def kill_busy_hosts() -> bool:
    """Kill each host, and each connection, of this process that has a call to answer; return whether there was one."""
    busy = [host for host in list(_LIVE) if host.is_busy]
    for host in busy:
        host.kill()
    return bool(busy)


def _memory_file() -> IO[bytes]:
    """Return an empty file without a name, in memory where the system has such files."""
    if hasattr(os, "memfd_create"):  # not limited by the size of /dev/shm, which is small in a container
        return open(os.memfd_create("simscale"), "wb+", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def _start(command: list[str], files: tuple[int, ...], python_path: str | None) -> subprocess.Popen[bytes]:
    left_out = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment |= ONE_THREAD_EACH | {"PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}
    if python_path:
        environment["PYTHONPATH"] = python_path
    return subprocess.Popen(
        command,
        pass_fds=files,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,  # Ctrl-C is for this process, which then ends the host
    )


def _keep_lines(stream: IO[bytes], lines: deque[str]) -> None:
    """Read what the host prints, so that it never waits, and keep the last lines."""
    with stream:
        for line in iter(lambda: stream.readline(_LINE_LENGTH), b""):
            if text := " ".join(line.decode(errors="replace").split()):
                lines.append(text)


def _end(process: subprocess.Popen[bytes], *files: socket.socket | IO[bytes]) -> None:
    for each in files:
        each.close()
    try:
        process.wait(_SECONDS_TO_EXIT)
    except subprocess.TimeoutExpired:
        _kill(process)
        process.wait()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and all processes that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
