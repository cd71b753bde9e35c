"""Output of a command: lines for people, one JSON object for scripts, or nothing; escape codes only on a terminal.

Texts may come from run folders, datasets, policies and environments of others. So all of them pass `printable`.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TextIO

from simscaleai.command_line import printable

Row = tuple[str, str]
"""Name and text. Rows without a text are left out."""

_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"
_WIDEST_RULE = 100  # characters


@dataclass
class Console:
    """Output of one command, in the form that its user chose; used in a `with` block.

    With `json`, standard output is kept for one JSON object, which is printed at the end of the block. What other code
    prints there within the block, or when the interpreter exits, goes to standard error.
    """

    quiet: bool = False
    """Print warnings only, to standard error."""
    json: bool = False
    """Print one JSON object at the end, and nothing else to standard output."""
    _result: Mapping[str, Any] | None = field(default=None, init=False)
    _block: ExitStack = field(default_factory=ExitStack, init=False)

    def __enter__(self) -> Console:
        if self.json:
            self._block.enter_context(output_to_stderr())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._block.close()
        if self._result is not None:
            print(_json_text(self._result), flush=True)
            atexit.register(_end_standard_output)  # runs before what other code registered within the block

    def say(self, *lines: str) -> None:
        """Print lines for people while the command works."""
        if not (self.quiet or self.json):
            print(*map(printable_lines, lines), sep="\n", flush=True)

    def warn(self, text: str) -> None:
        """Print a warning, with `quiet` or `json` to standard error."""
        stream = sys.stderr if self.quiet or self.json else sys.stdout
        print(f"warning: {printable(text)}", file=stream, flush=True)

    def conclude(self, rows: Iterable[Row], data: Callable[[], Mapping[str, Any]]) -> None:
        """Print the result, with `json` at the end of the block.

        Args:
            rows: Result for people, the most important row first.
            data: Returns the result for scripts; called only with `json`.
        """
        if self.json:
            self._result = data()
        elif not self.quiet:
            print(_panel([(printable(name), printable(text)) for name, text in rows if text]), flush=True)


@contextmanager
def output_to_stderr() -> Iterator[None]:
    """Send everything that is printed to standard output within the block to standard error.

    This includes what libraries in C and child processes print.
    """
    sys.stdout.flush()
    with _redirected_descriptor(sys.stdout, sys.stderr), redirect_stdout(sys.stderr):
        yield


@contextmanager
def _redirected_descriptor(stream: TextIO, target: TextIO) -> Iterator[None]:
    try:
        number, other = stream.fileno(), target.fileno()
    except (OSError, ValueError):  # a stream in memory, for example of a notebook
        yield
        return
    kept = os.dup(number)
    os.dup2(other, number)
    try:
        yield
    finally:
        _flush_c_streams()
        os.dup2(kept, number)
        os.close(kept)


def _end_standard_output() -> None:
    """Send everything that is printed to standard output from now on to standard error."""
    with suppress(OSError, ValueError):  # a stream in memory, or closed
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


def _flush_c_streams() -> None:
    """Write what libraries in C have buffered, as long as standard output is redirected."""
    if sys.platform != "win32":
        import ctypes

        ctypes.CDLL(None).fflush(None)


def printable_lines(text: str) -> str:
    """Return `text` with `printable` applied to each line."""
    return "\n".join(line if line.isprintable() else printable(line) for line in text.split("\n"))


def rows_text(rows: Iterable[Row]) -> str:
    """Return `rows` as printable lines with the names in a column of their own."""
    return "\n".join(f"{printable(name):<20} {printable(text)}".rstrip() for name, text in rows)


def _json_text(data: Mapping[str, Any]) -> str:
    """Return `data` as JSON, with unprintable characters as escapes of JSON."""
    lines = json.dumps(data, indent=2, ensure_ascii=False).split("\n")
    return "\n".join(line if line.isprintable() else _escaped(line) for line in lines)


def _escaped(line: str) -> str:
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


def _panel(rows: list[Row]) -> str:
    """Return `rows` as lines. On a terminal, they follow a rule, the first row is bold and the names are dim.

    The texts have no frame, so that commands among them can be copied.
    """
    if not sys.stdout.isatty():
        return rows_text(rows)
    width = min(_WIDEST_RULE, shutil.get_terminal_size().columns)
    (name, headline), *others = rows
    lines = [_styled(_BOLD, f"{name:<20} {headline}")]
    lines += [f"{_styled(_DIM, f'{name:<20}')} {text}" for name, text in others]
    return "\n".join([_styled(_DIM, "─" * width), *lines])


def _styled(style: str, text: str) -> str:
    """Return `text` in a style; plain if the user wants no colour (https://no-color.org) or the terminal has none."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else f"{style}{text}{_PLAIN}"
