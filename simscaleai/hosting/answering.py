"""The loop of a host: it receives calls, lets an object carry them out, and sends the answers.

This file runs under Python 3.8 and imports the standard library and NumPy alone. A host, which runs in another
interpreter, loads it by its path.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

if TYPE_CHECKING:
    import numpy as np

    Answer = tuple[dict[str, Any], dict[str, np.ndarray]]


class Mistake(Exception):
    """What the user asks for cannot be hosted. The text is one line for the user."""


class PolicyError(Exception):
    """A hosted policy raised an exception. The text names the exception and its place, in one line."""


def load(name: str, folder: Path) -> Any:
    """Import the module `name` from the file of this project in `folder`."""
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))


wire: Any = load("wire", Path(__file__).resolve().parent)


def carry_out(host: Any, call: Any) -> Answer | None:
    """Return the answer of `host`: of its method that the call names, or of its method `failed` for an exception.

    Args:
        host: The host.
        call: A message, or a signal, which is for the method `signal`. The answer is None if it was carried out.
    """
    try:
        if isinstance(call, wire.Signal):
            host.signal(*call)
            return None
        return getattr(host, call.body["call"])(*call)  # type: ignore[no-any-return]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, too: research code calls sys.exit
        return host.failed(error), {}


def answer_calls(host: Any, numbers: Sequence[str]) -> None:
    """Answer calls until the other process closes the connection.

    Args:
        host: Has a method `answer`, which takes a message or a signal, and returns body and arrays of the answer. The
            answer None sends a signal back.
        numbers: Numbers of two sockets, as text: for messages, and one that closes when the other process ends.
    """
    connection, lifeline = (socket.socket(fileno=int(number)) for number in numbers)
    for each in (connection, lifeline):
        os.set_inheritable(each.fileno(), False)
    _end_with_parent(lifeline)
    del sys.path[0]  # the folder of the script, whose names are not for others
    while True:
        try:
            call = wire.receive(connection)
            answer = host.answer(call)
            if answer is None:
                wire.send_signal(connection, call)
            else:
                wire.send(connection, *answer)
        except (wire.Closed, OSError):
            os._exit(0)  # libraries of others may hang while they close


def map_shared(body: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays of the call "share", which this process and the other one both see."""
    os.set_inheritable(body["file"], False)
    return wire.shared_arrays(body["file"], body["layout"])  # type: ignore[no-any-return]


def ask_policy(method: Callable[..., Any], *arguments: Any) -> Any:
    """Return what the method of a hosted policy returns.

    Raises:
        PolicyError: If it raises an exception.
    """
    try:
        return method(*arguments)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, too: research code calls sys.exit
        raise PolicyError(reason_text(error)) from error


def reason_text(error: BaseException) -> str:
    """Return the exception and its place, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return " ".join(f"{type(error).__name__}: {error}".split()) + place


def package_version(name: str) -> str | None:
    """Return the version of an installed package; None if it is not installed."""
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _end_with_parent(lifeline: socket.socket) -> None:
    """Let the system end this process when the socket closes, whatever this process is doing: SIGIO, by default."""
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    lifeline.setblocking(False)
    try:
        if lifeline.recv(1) == b"":  # it has closed already
            sys.exit(1)
    except BlockingIOError:
        pass


def check_device(name: str) -> None:
    """Check that torch can compute on the device `name`.

    Raises:
        Mistake: If it cannot.
    """
    if name == "cpu":
        return
    torch: Any = importlib.import_module("torch")
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise Mistake(f"expected a device such as cpu or cuda, got {name}: {str(error).splitlines()[0]}") from error
