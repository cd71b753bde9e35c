"""Between flags and values: an option for percentage points, and the command line that gives a configuration."""

from __future__ import annotations

import shlex
from dataclasses import MISSING, fields
from typing import Annotated, Any

from tyro.constructors import PrimitiveConstructorSpec

from eval.statistics.percentage import parse_points

Points = Annotated[
    float | None,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="PP",
        instance_from_str=lambda words: parse_points(words[0]),
        is_instance=lambda value: value is None or isinstance(value, float),
        str_from_instance=lambda value: ["none" if value is None else f"{100 * value:g}pp"],
    ),
]
"""Type of an option that takes `5pp`, `5%` or `0.05`. Its value is a fraction; None if the option is not given."""


def command_line(program: str, config: Any) -> str:
    """Return the command that runs `program` with `config`: every flag whose value is not its default.

    Args:
        program: How the user calls the command, for example "python -m eval.rollout".
        config: A dataclass whose fields are the flags.
    """
    words = [word for field in fields(config) for word in _flag(field.name, field.default, getattr(config, field.name))]
    return f"{program} {shlex.join(words)}"


def _flag(name: str, default: object, value: object) -> list[str]:
    flag = name.replace("_", "-")
    if value == default and default is not MISSING:
        return []
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    if isinstance(value, tuple):
        return [f"--{flag}", *map(str, value)]
    return [f"--{flag}", str(value)]
