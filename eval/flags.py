"""Turns the configuration of a command back into its command line."""

from __future__ import annotations

import shlex
from dataclasses import MISSING, fields
from typing import Any


def command_line(program: str, config: Any) -> str:
    """Return what to type to run `program` with `config`: every flag that differs from its default.

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
