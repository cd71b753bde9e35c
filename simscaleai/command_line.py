"""Shared by all commands: reading flags into a dataclass, and printing a user's mistake without a traceback."""

from __future__ import annotations

import ast
import inspect
import io
import os
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import fields
from itertools import pairwise
from types import MappingProxyType
from typing import Any, TypeVar, get_args

from simscaleai.errors import SimScaleError

Config = TypeVar("Config")

_FRAME = re.compile(r"\x1b\[[\d;]*m|[│╭╮╰╯]")
_RULE = re.compile(r"^\s*─[─\s]*$", re.MULTILINE)
_VALUE = re.compile(r"Error parsing (\S+): no type matching (?:\{None\}\|)?(.+) could be instantiated from (.+)")


def parse(
    config_type: type[Config] | Any, program: str, arguments: Sequence[str] | None, description: str | None = None
) -> Config:
    """Return a `config_type` with the values from the command line.

    Args:
        config_type: Frozen dataclass, or a union of them for subcommands. The text under a field is its flag's help.
        program: The command as the user types it, for example "python -m simscaleai.train".
        arguments: Command line without the program; None takes the arguments of the process.
        description: First lines of the help; by default the docstring of the class.

    Raises:
        SimScaleError: If a flag is unknown or missing, lacks its value, or has a value of another type.
        SystemExit: If the command line asks for the help, after the help was printed.
    """
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
    (definition,) = ast.parse(inspect.getsource(config_type)).body
    statements = definition.body if isinstance(definition, ast.ClassDef) else []
    texts = {
        ast.unparse(field.target): " ".join(str(text.value.value).split())
        for field, text in pairwise(statements)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }
    for field in fields(config_type):
        if field.name in texts:
            field.metadata = MappingProxyType({**field.metadata, "help": texts[field.name]})


def _as_one_line(panel: str) -> str:
    """Return tyro's error message as one line, without the frame and the help texts around it."""
    _, _, panel = panel.partition("\n")  # the frame's title
    first, *others = (section.strip("\n") for section in _RULE.split(_FRAME.sub("", panel)))
    problem = re.split(r"\n\s*\n", first)[0]
    missing = re.findall(r"^ {5}(\S.*?)\s*$", problem, re.MULTILINE)
    if problem.lstrip().startswith("Missing from") and missing:
        return f"expected {', '.join(missing)}; got none."
    near = re.search(r"Perhaps you meant:\s+(--[\w-]+)", "\n".join(others))
    hint = f" Did you mean {near[1]}?" if near else ""
    return _VALUE.sub(r"expected \1 \2, got \3", " ".join(problem.split())).rstrip(".") + f".{hint}"
