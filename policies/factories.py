"""Policies that are code: built by a callable that takes an `EnvSpec`, and options by keyword."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sysconfig
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from policies.base import EnvSpec, Needs, Policy
from policies.identity import code_identity
from policies.options import EXECUTION_OPTIONS, with_execution
from simscaleai.errors import SimScaleError, UnknownNameError

PolicyFactory = Callable[..., Policy]
"""Takes what the environment offers (`EnvSpec`), and options by name; returns a policy."""

_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def find_factory(name: str) -> PolicyFactory:
    """Return the callable "module:attribute" that `name` names.

    Raises:
        SimScaleError: If it cannot be imported, or is no callable.
    """
    module_name, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (Exception, SystemExit) as error:
        raise SimScaleError(
            f"cannot use policy {name!r}: {_reason(error)}; expected an importable module:attribute"
        ) from error
    if not callable(factory):
        came = type(factory).__name__
        raise SimScaleError(f"{name!r} does not make a policy: expected a callable that returns one, got {came}")
    made: PolicyFactory = factory
    return made


def build_from_factory(name: str, factory: PolicyFactory, spec: EnvSpec, options: Mapping[str, Any]) -> Policy:
    """Return the policy that `factory` makes for an environment that offers `spec`.

    Args:
        name: What the user calls the policy.
        factory: Gets `spec`, and those of `options` that not every policy has, by keyword.
        spec: What the environment offers.
        options: Name to value.

    Raises:
        SimScaleError: If the factory raises, does not know an option, or returns something else than a policy.
    """
    own = {key: value for key, value in options.items() if key not in EXECUTION_OPTIONS}
    _check_names(factory, own)
    try:
        policy = factory(spec, **own)
        problem = _problem(policy)
    except SimScaleError:
        raise
    except (Exception, SystemExit) as error:
        raise SimScaleError(f"policy {name!r} cannot be built: {_reason(error)}") from error
    if problem:
        raise SimScaleError(f"{name!r} does not make a policy: {problem}; see policies.base.Policy")
    _set(name, policy, "options", with_execution(getattr(policy, "options", {}), options))
    return policy


def identified(name: str, policy: Policy, module: str) -> Policy:
    """Return `policy` with the code of `module` as a part of its identity, beside what the policy says itself.

    Args:
        name: What the user calls the policy.
        policy: Changed in place.
        module: Name of the imported module that the policy comes from.

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
    except (TypeError, ValueError):  # it takes nothing, or is written in C: calling it tells more
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    by_keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = [*EXECUTION_OPTIONS, *(each.name for each in parameters if each.kind in by_keyword)]
    for name in options:
        if name not in known:
            raise UnknownNameError("policy option", name, known)


def _problem(policy: object) -> str:
    """Return why `policy` is no policy; "" if it is one."""
    lacking = [part for part in ("needs", "reset", "predict") if not hasattr(policy, part)]
    if lacking:
        return f"it has no {', '.join(lacking)}"
    return "" if isinstance(getattr(policy, "needs", None), Needs) else "its needs are no policies.base.Needs"


def _set(name: str, policy: Policy, attribute: str, value: object) -> None:
    try:
        setattr(policy, attribute, value)
    except (AttributeError, TypeError) as error:
        reason = _reason(error)
        raise SimScaleError(
            f"policy {name!r} does not let its {attribute} be set ({reason}); make it writable"
        ) from error


def _reason(error: BaseException) -> str:
    """Return in one line what was raised, and where in the user's code."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    frames = [frame for frame in frames if not frame.filename.startswith(("<", *_LIBRARIES))] or frames
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return " ".join(f"{type(error).__name__}: {error}".split()) + place
