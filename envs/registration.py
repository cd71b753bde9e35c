"""The registry of environments: names, ids, and the functions that describe and make each environment.

Code in this process registers an environment with `register_environment`. Another package offers an environment
through an entry point of the group `simscaleai.envs`. The name of the entry point is the short name of the environment.
Its object is a `Registration`, or a function that returns a `Registration` or a `gymnasium.Env`. The object is loaded
when a caller looks up this name or lists all environments. Names with a colon, such as `gym:Pendulum-v1`, need no
registration, see `envs.foreign.gymnasium_env`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from envs.choices import Choices
from envs.entry import MakeSlots, Registration
from envs.suite import suite_of
from simscaleai.errors import SimScaleError, UnknownNameError, exception_text
from simscaleai.extensions.entry_points import entry_point_names, load_entry_point

__all__ = [
    "ENTRY_POINT_GROUP",
    "MakeSlots",
    "Registration",
    "environment_names",
    "find_environment",
    "register_environment",
    "registrations",
    "unusable_environments",
]

ENTRY_POINT_GROUP = "simscaleai.envs"
"""Group of the entry points through which other packages offer environments."""


_REGISTERED: dict[str, Registration] = {}
"""Registrations of this process, by short name."""


def register_environment(registration: Registration) -> None:
    """Register an environment in this process. It replaces an earlier registration with the same name and id.

    Raises:
        SimScaleError: If the name or the id belongs to another environment.
    """
    for other in _REGISTERED.values():
        if (registration.name == other.name) != (registration.env_id == other.env_id):
            raise SimScaleError(
                f"cannot register {registration.name!r} as {registration.env_id!r}: "
                f"{other.name!r} is registered as {other.env_id!r}; choose another name and id"
            )
    _REGISTERED[registration.name] = registration


def find_environment(name: str) -> Registration:
    """Return the registration of the environment with this short name or id.

    The id may have the prefix "envs:", which `gym.make` needs. After a "?" there may be choices, see `Choices`. Several
    names with commas between them are a suite of these tasks.

    Raises:
        UnknownNameError: If no environment has this name or id.
        SimScaleError: If several environments have this name or id, its entry point cannot be used, or there is
            nothing to choose about it.
    """
    if "," in name:
        tasks = [find_environment(part.strip()) for part in name.split(",")]
        return suite_of(",".join(task.env_id for task in tasks), tasks)
    name, _, query = name.removeprefix("envs:").partition("?")
    registration, choices = _find(name), Choices.parse(query)
    if not query:
        return registration
    if registration.choose is None:
        raise SimScaleError(
            f"{name} has its own success rule and time limit, and no options; leave out --success, "
            "--max-episode-steps and --env-option"
        )
    return registration.choose(choices)


def environment_names() -> dict[str, str]:
    """Return the id of each usable environment by short name, those of this process first."""
    return {registration.name: registration.env_id for registration in registrations()}


def registrations() -> list[Registration]:
    """Return the registrations of all usable environments, those of this process first."""
    return [*_REGISTERED.values(), *_load_all()[0]]


def unusable_environments() -> dict[str, str]:
    """Return the reason why each unusable entry point cannot be used, by the name of the entry point."""
    return _load_all()[1]


def _find(name: str) -> Registration:
    for registration in _REGISTERED.values():
        if registration.env_id == name:
            return registration
    if name in entry_point_names(ENTRY_POINT_GROUP):
        return _load(name)
    if name in _REGISTERED:
        return _REGISTERED[name]
    from envs.foreign.elsewhere import find_env_elsewhere

    if elsewhere := find_env_elsewhere(name):
        return elsewhere
    if ":" in name:
        from envs.foreign.gymnasium_env import find_gymnasium_env

        return find_gymnasium_env(name)
    return _find_by_id(name)


_FORMS = ("gym:ID", "gym:module:ID", "module:function", "file.py:function")
"""Names of environments of others."""


def _find_by_id(env_id: str) -> Registration:
    """Return the registration with this id among the entry points."""
    found = [registration for registration in _load_all()[0] if registration.env_id == env_id]
    if len(found) > 1:
        both = " and ".join(repr(registration.name) for registration in found)
        raise SimScaleError(f"the environments {both} of other packages have the same id {env_id!r}; ask for a name")
    if found:
        return found[0]
    names = environment_names()
    same_namespace = [each for each in names.values() if each.partition("/")[0] == env_id.partition("/")[0]]
    raise UnknownNameError("environment", env_id, same_namespace or [*names, *_FORMS])


def _load_all() -> tuple[list[Registration], dict[str, str]]:
    """Return the registrations of the usable entry points, and the reason for each unusable one by its name."""
    loaded: list[Registration] = []
    reasons: dict[str, str] = {}
    for name in entry_point_names(ENTRY_POINT_GROUP):
        try:
            loaded.append(_load(name))
        except SimScaleError as error:
            reasons[name] = str(error)
    return loaded, reasons


def _load(name: str) -> Registration:
    """Return the registration of the entry point `name`.

    Raises:
        SimScaleError: If its package cannot be loaded, its object is no registration, or its name or id is taken.
    """
    origin = f"entry point {name!r} ({entry_point_names(ENTRY_POINT_GROUP)[name]})"
    if name in _REGISTERED:
        ours = _REGISTERED[name].env_id
        raise SimScaleError(
            f"two environments are called {name!r}: {ours}, and {origin} of another package; "
            f"ask for the first by its id {ours!r}, or uninstall the other package"
        )
    registration = _registration(name, load_entry_point(ENTRY_POINT_GROUP, name), origin)
    if registration.name != name:
        raise SimScaleError(f"expected a Registration named {name!r} as {origin}, got {registration.name!r}")
    taken = [other.name for other in _REGISTERED.values() if other.env_id == registration.env_id]
    if taken:
        raise SimScaleError(
            f"{origin} has the id {registration.env_id!r}, which the environment {taken[0]!r} has already"
        )
    return registration


@lru_cache
def _registration(name: str, loaded: Any, origin: str) -> Registration:
    """Return what the object `loaded` of an entry point registers. The result is kept, since making it may take long.

    Raises:
        SimScaleError: If it registers nothing.
    """
    if isinstance(loaded, Registration):
        return loaded
    made = _call(loaded, origin)
    if isinstance(made, Registration):
        return made
    from envs.foreign.gymnasium_env import is_gymnasium_env, register_factory

    if not is_gymnasium_env(made):
        raise SimScaleError(
            f"expected a Registration, or a function that returns one or a gymnasium.Env, as {origin}, "
            f"got {type(made).__name__}"
        )
    made.close()
    return register_factory(name, loaded)


def _call(factory: Callable[[], Any], origin: str) -> Any:
    try:
        return factory()
    except (Exception, SystemExit) as error:
        raise SimScaleError(
            f"{origin} cannot make its Registration ({exception_text(error)}); repair or uninstall its package"
        ) from error
