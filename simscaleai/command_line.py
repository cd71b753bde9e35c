"""Shared by all commands: reading flags into a dataclass, and printing a user's mistake without a traceback."""

from __future__ import annotations

import ast
import inspect
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import fields
from functools import cache
from itertools import pairwise
from types import MappingProxyType
from typing import Any, TypeVar, get_args

from simscaleai.errors import SimScaleError

Config = TypeVar("Config")

_FRAME = re.compile(r"\x1b\[[\d;]*m|[│╭╮╰╯]")
_RULE = re.compile(r"^[ \t]*(?:─|---)[─-]*[ \t]*$", re.MULTILINE)
_NUMBER = re.compile(
    r"Error parsing (\S+): (?:invalid literal for int\(\) with base 10|could not convert string to float): (.+)"
)
_VALUE = re.compile(r"Error parsing (\S+): no type matching (?:\{None\}\|)?(.+) could be instantiated from (.+)")


def parse(
    config_type: type[Config] | Any, program: str, arguments: Sequence[str] | None, description: str | None = None
) -> Config:
    """Return a `config_type` with the values from the command line.

    Every command begins here, so this also makes standard output and standard error safe to print to.

    Args:
        config_type: Frozen dataclass, or a union of them for subcommands. The text under a field is its flag's help.
        program: The command as the user types it, for example "python -m simscaleai.train".
        arguments: Command line without the program; None takes the arguments of the process.
        description: First lines of the help; by default the docstring of the class.

    Raises:
        SimScaleError: If a flag is unknown or missing, lacks its value, or has a value of another type.
        SystemExit: If the command line asks for the help, after the help was printed.
    """
    make_streams_safe()
    import tyro

    if os.environ.get("NO_COLOR"):
        tyro._experimental_options["ansi_codes"] = False
    for member in get_args(config_type) or (config_type,):
        _set_help_texts(member)
    printed = io.StringIO()
    try:
        with redirect_stderr(printed):
            config: Config = tyro.cli(config_type, prog=program, args=arguments, description=description)
            return config
    except SystemExit as ended:
        if not ended.code:
            raise
    raise SimScaleError(f"{_as_one_line(printed.getvalue())} See {program} --help.")


def make_streams_safe() -> None:
    """Make printing work with closed streams and pipes, and with characters that the encoding of a stream lacks.

    Output to a closed stream, or to a program that has ended, is discarded: a run goes on. A character that cannot be
    encoded is printed as its escape sequence.
    """
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(os.devnull, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
            setattr(sys, name, stream)
            if stream.fileno() == number:
                os.set_inheritable(number, True)  # otherwise a child process gives this number to another file
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            raw = getattr(stream.buffer, "raw", stream.buffer)
            if isinstance(raw, io.FileIO) and raw.fileno() == number and not isinstance(raw, _Patient):
                setattr(sys, name, _patient(stream, raw))


class _Patient(io.FileIO):
    """A file that discards what a program at the other end of a pipe, such as `head`, does not read any more."""

    def write(self, data: Any) -> int:
        """Write `data`, and return the number of bytes."""
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def _patient(stream: io.TextIOWrapper, raw: io.FileIO) -> io.TextIOWrapper:
    """Return a stream like `stream`, which writes to the file `raw`."""
    file: Any = _Patient(raw.fileno(), "wb", closefd=False)
    return io.TextIOWrapper(
        file if stream.buffer is raw else io.BufferedWriter(file),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def raise_at_interrupt() -> None:
    """Let Ctrl-C raise `KeyboardInterrupt` from here on, so that a command can end in an orderly way.

    A command calls this when its libraries are loaded, before it writes anything. Until then Ctrl-C ends the process at
    once, because an exception in the middle of an import would be printed, or get lost: see `simscaleai/__init__.py`.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def exit_code(work: Callable[[], int], at_interrupt: str = "interrupted") -> int:
    """Call the work of a command and return its exit code, 2 after a user's mistake, 130 after Ctrl-C.

    Args:
        work: Does the work and returns the exit code. It raises `SimScaleError` or `OSError` for a user's mistake.
        at_interrupt: What is printed to stderr after Ctrl-C.
    """
    try:
        return work()
    except (SimScaleError, OSError) as mistake:
        say_mistake(mistake)
        return 2
    except KeyboardInterrupt:
        print(at_interrupt, file=sys.stderr)
        return 130


def say_mistake(mistake: BaseException) -> None:
    """Print a user's mistake to stderr."""
    text = str(mistake)
    if isinstance(mistake, OSError) and mistake.filename is not None:
        text = f"cannot use {mistake.filename} ({mistake.strerror}); give another path"
    print("\n".join(map(printable, f"error: {text}".split("\n"))), file=sys.stderr)


def printable(text: str) -> str:
    """Return `text` with every unprintable character replaced by its escape sequence.

    Text from a file of unknown origin then stays on its line and cannot send control sequences to the terminal.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _set_help_texts(config_type: Any) -> None:
    """Set the text under each field as its help, as one paragraph. Tyro itself would keep the line breaks."""
    config_type = get_args(config_type)[0] if get_args(config_type) else config_type
    texts: dict[str, str] = {}
    for each in reversed(config_type.__mro__):
        if "__dataclass_fields__" in vars(each):
            texts |= _texts_under_fields(each)
    for field in fields(config_type):
        if field.name in texts:
            field.metadata = MappingProxyType({**field.metadata, "help": texts[field.name]})


@cache
def _texts_under_fields(config_type: type) -> dict[str, str]:
    """Return the text under each field that the class itself defines, by name."""
    (definition,) = ast.parse(inspect.getsource(config_type)).body
    statements = definition.body if isinstance(definition, ast.ClassDef) else []
    return {
        ast.unparse(field.target): " ".join(str(text.value.value).split())
        for field, text in pairwise(statements)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }


def _as_one_line(panel: str) -> str:
    """Return tyro's error message as one line, without the frame and the help texts around it."""
    # A panel is a title and sections between rules. It has a frame of lines only where stdout's encoding is "utf-8".
    _, _, panel = panel.partition("\n")
    sections = [section.strip("\n") for section in _RULE.split(_FRAME.sub("", panel))]
    first, *others = [section for section in sections if section.strip()] or [panel]
    problem = re.split(r"\n\s*\n", first)[0]
    missing = re.findall(r"^ {5,6}(\S.*?)\s*$", problem, re.MULTILINE)
    if problem.lstrip().startswith("Missing from") and missing:
        return f"expected {', '.join(missing)}; got none."
    near = re.search(r"Perhaps you meant:\s+(--[\w-]+)", "\n".join(others))
    hint = f" Did you mean {near[1]}?" if near else ""
    line = _NUMBER.sub(r"expected \1 with a number, got \2", " ".join(problem.split()))
    return _VALUE.sub(r"expected \1 \2, got \3", line).rstrip(".") + f".{hint}"
