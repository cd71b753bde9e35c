"""Options of policies: parsing of typed values, and the execution options, which every policy has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass
from typing import Any

from simscaleai.errors import SimScaleError
from simscaleai.extensions.loading import typed_value
from simscaleai.json_data import is_of_type

EXECUTION_OPTIONS: Mapping[str, type[int] | type[float] | type[bool]] = {
    "n_action_steps": int,
    "ensemble_decay": float,
    "synchronous": bool,
}
"""Types of the options that every policy has, by name. They say how the evaluator executes chunks."""

ADAPTER = "adapter"
"""Name of the option that names the adapter of a policy server."""

_ALTERNATIVES = {"n_action_steps", "ensemble_decay"}

_LARGEST = 10**9
"""Largest absolute value of an execution option."""


@dataclass(frozen=True, kw_only=True)
class PolicyFlags:
    """Flags of a command that choose options of a policy."""

    policy_option: tuple[str, ...] = ()
    """Options of the policy, each NAME=VALUE. Every policy has n_action_steps (actions of a chunk to execute before the
    policy is asked again), ensemble_decay (average overlapping chunks instead) and synchronous (with a latency, wait
    for the new chunk instead of executing the rest of the old one)."""
    adapter: InitVar[str | None] = None
    """What goes where between the environment and the server of ws://…: a name, for example libero, or FILE.toml."""

    def __post_init__(self, adapter: str | None) -> None:
        """Make the adapter one of the options, so that records and commands for a replay hold it."""
        if adapter is not None:
            object.__setattr__(self, "policy_option", (*self.policy_option, f"{ADAPTER}={adapter}"))


def option_value(name: str, text: str) -> Any:
    """Return `text`, typed by a user as the option `name`, as a number, a bool or a text.

    Raises:
        SimScaleError: If `name` is one of `EXECUTION_OPTIONS`, and `text` is not a value of its type.
    """
    kind = EXECUTION_OPTIONS.get(name)
    value = {"true": True, "false": False}.get(text.lower(), text) if kind is bool else typed_value(text)
    if kind is not None:
        _check_type(name, value, text)
    return value


def check_execution(options: Mapping[str, Any]) -> None:
    """Check the values of `EXECUTION_OPTIONS` among `options`.

    Raises:
        SimScaleError: If options contradict each other, a value is not of its type, or `n_action_steps` is less than 1.
    """
    for name in EXECUTION_OPTIONS:
        if options.get(name) is not None:
            _check_type(name, options[name], options[name])
    steps, decay = options.get("n_action_steps"), options.get("ensemble_decay")
    if steps is not None and decay is not None:
        raise SimScaleError(
            "expected n_action_steps or ensemble_decay, got both: an ensemble calls the policy at every step"
        )
    if options.get("synchronous") and decay is not None:
        raise SimScaleError(
            "expected synchronous or ensemble_decay, got both: an ensemble moves on while the policy computes"
        )
    if steps is not None and steps < 1:
        raise SimScaleError(f"expected n_action_steps of at least 1, got {steps}")


def _check_type(name: str, value: Any, given: object) -> None:
    kind = EXECUTION_OPTIONS[name]
    if not is_of_type(value, kind) or abs(value) > _LARGEST:
        raise SimScaleError(f"expected the policy option {name} as {kind.__name__}, got {given!r:.60}")


def with_execution(options: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return a policy's `options` updated with `chosen`.

    A chosen `n_action_steps` replaces the policy's `ensemble_decay`, and the other way round.
    """
    replaced = _ALTERNATIVES if _ALTERNATIVES & chosen.keys() else set()
    return {name: value for name, value in options.items() if name not in replaced} | dict(chosen)


def parse_options(texts: Sequence[str]) -> dict[str, str]:
    """Parse `--policy-option NAME=VALUE …` into values by name.

    Raises:
        SimScaleError: If a text does not have this form, or two texts have the same name.
    """
    options: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise SimScaleError(f"expected --policy-option NAME=VALUE, got {text!r}; for example n_action_steps=1")
        if name in options:
            raise SimScaleError(f"expected one value for the policy option {name!r}, got two")
        options[name] = value
    return options
