"""Builds policies with factories: callables that take an `EnvSpec`, and options by keyword."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from policies.base import EnvSpec, Needs, Policy
from policies.options import EXECUTION_OPTIONS, check_execution, with_execution
from simscaleai.errors import SimScaleError, UnknownNameError
from simscaleai.extensions.identity import code_identity
from simscaleai.extensions.loading import load_attribute, reason_text
from simscaleai.json_data import plain

PolicyFactory = Callable[..., Policy]
"""Callable that takes the specification of an environment (`EnvSpec`) and options by keyword, and returns a policy."""


def find_factory(name: str) -> tuple[PolicyFactory, str]:
    """Import what `name` stands for, and return a callable that makes the policy, and the name of its module.

    `name` is "module:attribute" or "file.py:attribute". The attribute is a callable that takes an `EnvSpec` and returns
    a policy, or a user's function or class, see `policies.foreign.agents`.

    Raises:
        SimScaleError: If the attribute cannot be imported, or makes no policy.
    """
    from policies.foreign.agents import agent_factory

    value, module = load_attribute("policy", name)
    if not callable(value):
        got = type(value).__name__
        raise SimScaleError(
            f"{name!r} does not make a policy: expected a function or a class, got an object of class {got}"
        )
    factory: PolicyFactory = agent_factory(name, value) or value
    return factory, module


def build_from_factory(name: str, factory: PolicyFactory, spec: EnvSpec, options: Mapping[str, Any]) -> Policy:
    """Return the policy that `factory` makes for an environment that offers `spec`.

    Args:
        name: Name of the policy for messages.
        factory: Called with `spec`, and with the `options` other than `EXECUTION_OPTIONS` by keyword.
        spec: Specification of the environment.
        options: Values of options by name.

    Raises:
        SimScaleError: If the factory raises, does not accept an option, or returns an object that is no policy.
    """
    own = {key: value for key, value in options.items() if key not in EXECUTION_OPTIONS}
    _check_names(factory, own)
    try:
        policy = factory(spec, **own)
        problem = _problem(policy)
        chosen = plain(with_execution(getattr(policy, "options", {}), options))  # the record of a run holds JSON data
    except SimScaleError:
        raise
    except (Exception, SystemExit) as error:
        raise SimScaleError(f"policy {name!r} cannot be built: {reason_text(error)}") from error
    if problem:
        raise SimScaleError(f"{name!r} does not make a policy: {problem}; see policies.base.Policy")
    check_execution(chosen)
    _set(name, policy, "options", chosen)
    return policy


def identified(name: str, policy: Policy, module: str) -> Policy:
    """Add a digest of the source files of `module` to the identity of `policy`, and return `policy`.

    Args:
        name: Name of the policy for messages.
        policy: The policy; changed in place.
        module: Name of the imported module that defines the policy.

    Raises:
        SimScaleError: If the policy does not let its identity be set.
    """
    own, code = getattr(policy, "identity", ""), code_identity(module)
    _set(name, policy, "identity", hashlib.sha256(f"{own}\n{code}".encode()).hexdigest() if own else code)
    return policy


def _check_names(factory: PolicyFactory, options: Mapping[str, Any]) -> None:
    """Raise `UnknownNameError` if `factory` does not take an option."""
    try:
        _, *parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # no arguments, or written in C: the call gives a better message
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    by_keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = [*EXECUTION_OPTIONS, *(each.name for each in parameters if each.kind in by_keyword)]
    for name in options:
        if name not in known:
            raise UnknownNameError("policy option", name, known)


def _problem(policy: object) -> str:
    """Return the reason why `policy` is no policy; "" if it is a policy."""
    lacking = [part for part in ("needs", "reset", "predict") if not hasattr(policy, part)]
    if lacking:
        return f"it has no {', '.join(lacking)}"
    return "" if isinstance(getattr(policy, "needs", None), Needs) else "its `needs` is not a policies.base.Needs"


def _set(name: str, policy: Policy, attribute: str, value: object) -> None:
    try:
        setattr(policy, attribute, value)
    except (AttributeError, TypeError) as error:
        reason = reason_text(error)
        raise SimScaleError(
            f"policy {name!r} does not let its {attribute} be set ({reason}); make it writable"
        ) from error
