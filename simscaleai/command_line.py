"""What every command shares: flags are read into a dataclass, and a user's mistake is one line."""

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

import tyro

from simscaleai.errors import SimScaleError

Config = TypeVar("Config")

_FRAME = re.compile(r"\x1b\[[\d;]*m|[│╭╮╰╯]")
_RULE = re.compile(r"^\s*─[─\s]*$", re.MULTILINE)
_VALUE = re.compile(r"Error parsing (\S+): no type matching (?:\{None\}\|)?(.+) could be instantiated from (.+)")


def parse(
    config_type: type[Config] | Any, program: str, arguments: Sequence[str] | None, description: str | None = None
) -> Config:
    """Read the command line into a `config_type`.

    Args:
        config_type: Frozen dataclass, or a union of them for subcommands; the text under a field is its flag's help.
        program: How the user calls the command.
        arguments: Command line without the program; None takes that of the process.
        description: What the help begins with; by default the class's docstring.

    Raises:
        SimScaleError: If a flag is unknown, lacks its value or is missing, or a value is of another type.
        SystemExit: After printing the help that was asked for.
    """
    if os.environ.get("NO_COLOR"):
        tyro._experimental_options["ansi_codes"] = False
    for part in get_args(config_type) or (config_type,):
        _join_lines_of_help(part)
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            config: Config = tyro.cli(config_type, prog=program, args=arguments, description=description)
            return config
    except SystemExit as ended:
        if not ended.code:
            raise
    raise SimScaleError(f"{_in_one_line(said.getvalue())} See {program} --help.")


def say_mistake(mistake: BaseException) -> None:
    """Print a user's mistake to stderr."""
    text = str(mistake)
    if isinstance(mistake, OSError) and mistake.filename is not None:
        text = f"cannot use {mistake.filename} ({mistake.strerror}); give another path"
    print("\n".join(map(printable, f"error: {text}".split("\n"))), file=sys.stderr)


def printable(text: str) -> str:
    """Return `text` such that it stays in its line and commands no terminal: what a file says may be foreign."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _join_lines_of_help(config_type: Any) -> None:
    """Tell tyro the text under each field as one paragraph: it would break lines where the source does."""
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


def _in_one_line(panel: str) -> str:
    """Return what tyro says in a frame, with help texts around it, as one line."""
    _, _, panel = panel.partition("\n")  # the frame's title
    first, *others = (part.strip("\n") for part in _RULE.split(_FRAME.sub("", panel)))
    problem = re.split(r"\n\s*\n", first)[0]
    missing = re.findall(r"^ {5}(\S.*?)\s*$", problem, re.MULTILINE)
    if problem.lstrip().startswith("Missing from") and missing:
        return f"expected {', '.join(missing)}; got none."
    near = re.search(r"Perhaps you meant:\s+(--[\w-]+)", "\n".join(others))
    hint = f" Did you mean {near[1]}?" if near else ""
    return _VALUE.sub(r"expected \1 \2, got \3", " ".join(problem.split())).rstrip(".") + f".{hint}"
