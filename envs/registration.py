"""Names of environments, and how each is described and made.

An environment comes from `register_environment`, or from another package through an entry point of the group
`simscaleai.envs`. An entry point's name is the short name of the environment; its object is a `Registration`, or a
function without arguments that returns one. It is loaded when its name is asked for or environments are listed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from envs.slots import SlotEnv
from simscaleai.contract import EnvSpec, Needs
from simscaleai.entry_points import entry_point_names, load_entry_point
from simscaleai.errors import SimScaleError, UnknownNameError

ENTRY_POINT_GROUP = "simscaleai.envs"
"""Group of the entry points through which other packages offer environments."""


class MakeSlots(Protocol):
    """Function that makes an environment."""

    def __call__(
        self, num_slots: int, needs: Needs, terminate_on_success: bool, max_episode_steps: int | None
    ) -> SlotEnv:
        """Make `num_slots` slots whose observations hold the keys of `needs`.

        Args:
            num_slots: Number of slots, at least 1.
            needs: Vectors and cameras that are wanted.
            terminate_on_success: Whether an episode ends at its first success.
            max_episode_steps: Time limit in control steps; None for that of the specification.
        """
        ...


@dataclass(frozen=True)
class Registration:
    """An environment that can be asked for by name."""

    name: str
    """Short name, as in `--env reach`."""
    env_id: str
    """Full id with its version, for example "SimScale/Reach-v0"."""
    offer: Callable[[], EnvSpec]
    """Returns all that the environment can give, as quickly as possible."""
    make: MakeSlots
    """Makes the environment."""
    summary: str = ""
    """What is to be done, in one sentence, for lists."""


_REGISTERED: dict[str, Registration] = {}
"""Short name to registration."""


def register_environment(registration: Registration) -> None:
    """Register an environment in this process. The same name and id again replace the earlier registration.

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

    Raises:
        UnknownNameError: If there is no such environment.
        SimScaleError: If several environments have this name, or its entry point cannot be used.
    """
    for registration in _REGISTERED.values():
        if registration.env_id == name:
            return registration
    if name in entry_point_names(ENTRY_POINT_GROUP):
        return _load(name)
    if name in _REGISTERED:
        return _REGISTERED[name]
    return _find_by_id(name)


def environment_names() -> dict[str, str]:
    """Return short name to id of all environments that can be used, those of this process first."""
    return {registration.name: registration.env_id for registration in registrations()}


def registrations() -> list[Registration]:
    """Return the registrations of all environments that can be used, those of this process first."""
    return [*_REGISTERED.values(), *_load_all()[0]]


def unusable_environments() -> dict[str, str]:
    """Return short name to the reason, for each entry point that cannot be used."""
    return _load_all()[1]


def _find_by_id(env_id: str) -> Registration:
    """Return the registration with this id that an entry point gives."""
    for registration in _load_all()[0]:
        if registration.env_id == env_id:
            return registration
    names = environment_names()
    family = [each for each in names.values() if each.partition("/")[0] == env_id.partition("/")[0]]
    raise UnknownNameError("environment", env_id, family or names)


def _load_all() -> tuple[list[Registration], dict[str, str]]:
    """Return what the entry points give, and the reason for each of them that cannot be used."""
    loaded: list[Registration] = []
    reasons: dict[str, str] = {}
    for name in entry_point_names(ENTRY_POINT_GROUP):
        try:
            loaded.append(_load(name))
        except SimScaleError as error:
            reasons[name] = str(error)
    return loaded, reasons


def _load(name: str) -> Registration:
    """Return what the entry point `name` gives.

    Raises:
        SimScaleError: If its package cannot be loaded, it gives something else, or its name or id is taken.
    """
    origin = f"entry point {name!r} ({entry_point_names(ENTRY_POINT_GROUP)[name]})"
    if name in _REGISTERED:
        ours = _REGISTERED[name].env_id
        raise SimScaleError(
            f"two environments are called {name!r}: {ours}, and {origin} of another package; "
            f"ask for the first by its id {ours!r}, or uninstall the other package"
        )
    loaded = load_entry_point(ENTRY_POINT_GROUP, name)
    registration = loaded if isinstance(loaded, Registration) else _call(loaded, origin)
    if not isinstance(registration, Registration):
        came = type(registration).__name__
        raise SimScaleError(f"expected a Registration, or a function that returns one, as {origin}, got {came}")
    if registration.name != name:
        raise SimScaleError(f"expected a Registration of that name as {origin}, got {registration.name!r}")
    taken = [other.name for other in _REGISTERED.values() if other.env_id == registration.env_id]
    if taken:
        raise SimScaleError(f"{origin} has the id {registration.env_id!r} of the environment {taken[0]!r}")
    return registration


def _call(factory: Callable[[], object], origin: str) -> object:
    try:
        return factory()
    except (Exception, SystemExit) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise SimScaleError(f"{origin} gives no environment ({reason}); mend or uninstall its package") from error
