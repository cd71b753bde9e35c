"""Options of policies: the values that users type, and the options that every policy has."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from contextlib import suppress
from math import isfinite
from typing import Any

from simscaleai.errors import SimScaleError

EXECUTION_OPTIONS: Mapping[str, type[int] | type[float]] = {"n_action_steps": int, "ensemble_decay": float}
"""Options that every policy has: how the evaluator executes its chunks."""


def option_value(name: str, text: str) -> Any:
    """Return the number, truth value or text that a user typed as the option `name`.

    Raises:
        SimScaleError: If the option is one that every policy has, and `text` is no such number.
    """
    value: Any = text
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError):  # then it stays a text
        value = ast.literal_eval(text)
    if name not in EXECUTION_OPTIONS:
        return value if isinstance(value, int | float | bool) else text
    kind = EXECUTION_OPTIONS[name]
    if isinstance(value, bool) or not isinstance(value, (int, kind)) or not isfinite(value):
        raise SimScaleError(f"expected the policy option {name} as {kind.__name__}, got {text!r}")
    return value


def check_execution(options: Mapping[str, Any]) -> None:
    """Check the options that say how chunks are executed.

    Raises:
        SimScaleError: If both are given, or no action of a chunk would be executed.
    """
    steps, decay = options.get("n_action_steps"), options.get("ensemble_decay")
    if steps is not None and decay is not None:
        raise SimScaleError("expected n_action_steps or ensemble_decay, got both: an ensemble asks at every step")
    if steps is not None and steps < 1:
        raise SimScaleError(f"expected n_action_steps of at least 1, got {steps}")


def with_execution(options: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `options` of a policy with the `chosen` ones. A chosen way to execute chunks replaces the policy's."""
    replaced = EXECUTION_OPTIONS.keys() if EXECUTION_OPTIONS.keys() & chosen.keys() else set()
    return {name: value for name, value in options.items() if name not in replaced} | dict(chosen)
