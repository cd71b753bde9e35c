"""The type of options in percentage points, and the command line that reproduces a configuration."""

from __future__ import annotations

import shlex
from dataclasses import MISSING, fields
from typing import Annotated, Any, get_args, get_type_hints

import tyro
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
    """Return the command that runs `program` with `config`. It holds every flag whose value is not the default.

    Args:
        program: How the user calls the command, for example "python -m eval.rollout".
        config: A dataclass whose fields are the flags, or words without a flag (`tyro.conf.Positional`).
    """
    kinds = get_type_hints(type(config), include_extras=True)
    given = [
        field for field in fields(config) if field.default is MISSING or getattr(config, field.name) != field.default
    ]
    positional = [field.name for field in given if tyro.conf.Positional in get_args(kinds[field.name])]
    words = [word for name in positional for word in _values(getattr(config, name))]
    for field in given:
        if field.name not in positional:
            words += _flag(field.name.replace("_", "-"), getattr(config, field.name))
    return f"{program} {shlex.join(words)}"


def _flag(name: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", *_values(value)]


def _values(value: object) -> list[str]:
    return list(map(str, value)) if isinstance(value, tuple) else [str(value)]
