"""Options of policies: parsing of typed values, and the execution options, which every policy has."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from contextlib import suppress
from math import isfinite
from typing import Any

from simscaleai.errors import SimScaleError

EXECUTION_OPTIONS: Mapping[str, type[int] | type[float]] = {"n_action_steps": int, "ensemble_decay": float}
"""Types of the options that every policy has, by name. They say how the evaluator executes chunks."""


def option_value(name: str, text: str) -> Any:
    """Return `text`, typed by a user as the option `name`, as a number, a bool or a text.

    Raises:
        SimScaleError: If `name` is one of `EXECUTION_OPTIONS`, and `text` is not a number of its type.
    """
    value: Any = text
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError):  # no literal: it stays a text
        value = ast.literal_eval(text)
    if name not in EXECUTION_OPTIONS:
        return value if isinstance(value, int | float | bool) else text
    kind = EXECUTION_OPTIONS[name]
    if isinstance(value, bool) or not isinstance(value, (int, kind)) or not isfinite(value):
        raise SimScaleError(f"expected the policy option {name} as {kind.__name__}, got {text!r}")
    return value


def check_execution(options: Mapping[str, Any]) -> None:
    """Check the values of `EXECUTION_OPTIONS` among `options`.

    Raises:
        SimScaleError: If both options have a value, or `n_action_steps` is less than 1.
    """
    steps, decay = options.get("n_action_steps"), options.get("ensemble_decay")
    if steps is not None and decay is not None:
        raise SimScaleError(
            "expected n_action_steps or ensemble_decay, got both: an ensemble calls the policy at every step"
        )
    if steps is not None and steps < 1:
        raise SimScaleError(f"expected n_action_steps of at least 1, got {steps}")


def with_execution(options: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return a policy's `options` updated with `chosen`. A chosen execution option replaces all of the policy's."""
    replaced = EXECUTION_OPTIONS.keys() if EXECUTION_OPTIONS.keys() & chosen.keys() else set()
    return {name: value for name, value in options.items() if name not in replaced} | dict(chosen)
