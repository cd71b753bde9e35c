"""Finds environments of Gymnasium: by ID, or made by a factory of a user or of another package.

The names are `gym:ID`, `gym:module:ID`, `module:factory`, `file.py:factory`, or that of an entry point. A factory is
a callable that returns a `gymnasium.Env`. Its keyword arguments, the success rule and the time limit are `Choices` of
the user, which the id of the environment holds: "gym:Pendulum-v1?success=return>=-200&g=9.8".
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import TYPE_CHECKING, Any

from envs.choices import Choices
from envs.entry import Registration
from envs.foreign.gym_slot import SUCCESS_RULES, GymSlot, SuccessRule
from envs.foreign.gym_slots import FILM_CAMERA, GymSlots
from envs.foreign.gym_spaces import EpisodeError, SetUpError
from envs.gl_backend import choose_gl_backend
from simscaleai.contract import ActionSpec, EnvSpec, Feature, Layout, Needs
from simscaleai.errors import SimScaleError
from simscaleai.extensions.identity import code_identity
from simscaleai.extensions.loading import load_attribute, reason_text

if TYPE_CHECKING:
    import gymnasium as gym
    from gymnasium.envs.registration import EnvSpec as EntryOfGymnasium

_USUAL_SLOTS = 16
_USUAL_HZ = 30.0
"""Control rate of an environment that states none; Gymnasium films it at this rate."""

_LIBRARY_FOLDERS = ("site-packages", "dist-packages")


@lru_cache
def find_gymnasium_env(name: str) -> Registration:
    """Return the registration of the environment "gym:ID", "gym:module:ID", "module:factory" or "file.py:factory".

    Raises:
        SimScaleError: If the factory cannot be imported. An unknown ID is only found when the environment is made.
    """
    if name.startswith("gym:"):
        by_id = partial(_make_by_id, name.removeprefix("gym:"))
        return _Source(name, by_id, limit=partial(_limit_of_id, name.removeprefix("gym:"))).register()
    factory, module = load_attribute("environment", name)
    if not callable(factory):
        got = type(factory).__name__
        raise SimScaleError(f"expected a callable that returns a gymnasium.Env as environment {name!r}, got {got}")
    return _Source(name, factory, module).register()


def register_factory(name: str, factory: Callable[..., gym.Env[Any, Any]]) -> Registration:
    """Return the registration of the environment `name`, which `factory` makes."""
    return _Source(name, factory, getattr(factory, "__module__", "")).register()


def is_gymnasium_env(made: object) -> bool:
    """Return whether `made` is a `gymnasium.Env`, or has its methods and spaces."""
    return not _lacking(made)


@dataclass(frozen=True)
class _Source:
    """Where an environment comes from."""

    name: str
    """Name of the environment. With the choices of a user, it is the id."""
    factory: Callable[..., gym.Env[Any, Any]]
    module: str = ""
    """Name of the module of the factory; "" if its code needs no digest."""
    limit: Callable[[], int | None] = lambda: None
    """Function that returns the time limit in control steps, if the environment does not state it."""

    def id_with(self, choices: Choices) -> str:
        return f"{self.name}?{choices}" if str(choices) else self.name

    def register(self, choices: Choices | None = None) -> Registration:
        choices = choices or Choices()
        world = _World(self, choices)
        return Registration(
            name=self.name,
            env_id=self.id_with(choices),
            offer=lambda: world.spec,
            make=world.make_slots,
            choose=self.register,
            usual_slots=_USUAL_SLOTS,
        )


class _World:
    """One environment with the choices of a user."""

    def __init__(self, source: _Source, choices: Choices) -> None:
        self._source, self._choices = source, choices

    @cached_property
    def spec(self) -> EnvSpec:
        """What the environment offers. One environment is made and reset to find out.

        Raises:
            SimScaleError: If it cannot be made or represented, or its success rule or time limit is not known.
        """
        env = self.make_env()
        try:
            return self._spec(env)
        except (SetUpError, EpisodeError) as error:
            raise SimScaleError(f"{self._source.name} cannot be evaluated: {error}") from error
        except SimScaleError:
            raise
        except (Exception, SystemExit) as error:  # code of the user
            raise SimScaleError(f"{self._source.name} cannot be evaluated: {reason_text(error)}") from error
        finally:
            env.close()

    def make_env(self) -> Any:
        """Return a new environment.

        Raises:
            SimScaleError: If the factory raises, or returns something else.
        """
        choose_gl_backend()
        factory, keywords = self._source.factory, self._choices.keywords
        if "render_mode" in _parameters(factory):
            keywords = {"render_mode": "rgb_array", **keywords}
        try:
            env = factory(**keywords)
        except SimScaleError:
            raise
        except (Exception, SystemExit) as error:
            raise SimScaleError(f"cannot make environment {self._source.name!r}: {reason_text(error)}") from error
        if lacking := _lacking(env):
            got = f"{type(env).__name__}, which has no {', '.join(lacking)}"
            raise SimScaleError(f"expected a gymnasium.Env from {self._source.name!r}, got {got}")
        return env

    def make_slots(
        self, num_slots: int, needs: Needs, terminate_on_success: bool, max_episode_steps: int | None
    ) -> GymSlots:
        """Return `num_slots` slots."""
        spec, rule = self.spec, SuccessRule(self._choices.success or "")
        limit = max_episode_steps or spec.max_episode_steps

        def make_slot() -> GymSlot:
            return GymSlot(self.make_env(), rule, terminate_on_success=terminate_on_success, max_episode_steps=limit)

        return GymSlots(spec, make_slot, num_slots, needs)

    def _spec(self, env: Any) -> EnvSpec:
        rule, limit = self._rule(env), self._limit(env)
        slot = GymSlot(env, rule, terminate_on_success=True, max_episode_steps=limit)
        info = slot.reset(0)
        actions = slot.actions
        return EnvSpec(
            env_id=self._source.id_with(self._choices),
            digest=self._digest(env, slot, limit),
            vectors={key: Layout((Feature(key, size, "", ""),)) for key, size in slot.observations.vectors.items()},
            cameras=dict(slot.observations.cameras),
            film_cameras=(FILM_CAMERA,) if getattr(env, "render_mode", None) in ("rgb_array", "rgb_array_list") else (),
            action=ActionSpec(
                names=tuple(actions.names), low=tuple(actions.low), high=tuple(actions.high), meaning=actions.text
            ),
            control_hz=_control_hz(env),
            max_episode_steps=limit,
            success=rule.in_words,
            repeats="unknown",
            has_instructions=isinstance(info.get("instruction"), str),
        )

    def _rule(self, env: Any) -> SuccessRule:
        if self._choices.success is None:
            seen = ", ".join(f"info:{key}" for key in _info_keys(env))
            raise SimScaleError(
                f"{self._source.name} does not say what a success is; name it with --success: {SUCCESS_RULES}"
                + (f" (its info has {seen})" if seen else "")
            )
        return SuccessRule(self._choices.success)

    def _limit(self, env: Any) -> int:
        spec = getattr(env, "spec", None)
        stated = (getattr(spec, "max_episode_steps", None), _attribute(env, "_max_episode_steps"))
        known = (*stated, self._source.limit())
        limit = self._choices.max_episode_steps or next((int(steps) for steps in known if steps), None)
        if limit is None:
            raise SimScaleError(f"{self._source.name} has no time limit; give one with --max-episode-steps")
        return limit

    def _digest(self, env: Any, slot: GymSlot, limit: int) -> str:
        """Return the digest of the simulation: names, choices, spaces, versions of packages, and the user's code."""
        modules = sorted({self._source.module, *_modules(env)} - {""})
        own = [module for module in modules if _is_of_user(module)]
        parts = {
            "environment": self._source.id_with(self._choices),
            "max_episode_steps": limit,
            "observation": [slot.observations.vectors, slot.observations.cameras],
            "action": [slot.actions.text, slot.actions.low, slot.actions.high],
            "versions": _versions(modules),
            "code": {module: code_identity(module) for module in own},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _lacking(made: object) -> list[str]:
    """Return what `made` lacks of the methods and spaces of a `gymnasium.Env`."""
    return [part for part in ("observation_space", "action_space", "reset", "step") if not hasattr(made, part)]


def _make_by_id(env_id: str, **keywords: Any) -> gym.Env[Any, Any]:
    """Return an environment from the registry of Gymnasium, without a wrapper that ends episodes at the time limit."""
    import gymnasium as gym

    spec = _spec_of_id(env_id)
    creator: Any = spec.entry_point
    if isinstance(creator, str):
        creator = gym.envs.registration.load_env_creator(creator)
    if "rgb_array" in getattr(creator, "metadata", {}).get("render_modes", ()):
        keywords = {"render_mode": "rgb_array", **keywords}
    made: gym.Env[Any, Any] = gym.make(spec, max_episode_steps=-1, disable_env_checker=True, **keywords)
    return made


def _limit_of_id(env_id: str) -> int | None:
    return _spec_of_id(env_id).max_episode_steps


def _spec_of_id(env_id: str) -> EntryOfGymnasium:
    """Return the entry of "ID" or "module:ID" in the registry of Gymnasium. The module registers the ID."""
    import gymnasium as gym

    module, _, registered_id = env_id.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        return gym.spec(registered_id)
    except (gym.error.Error, ImportError) as error:
        reason = " ".join(str(error).split())
        if not module and isinstance(error, gym.error.NamespaceNotFound):
            reason += f" gym:MODULE:{env_id} imports the module that registers it."
        raise SimScaleError(f"Gymnasium has no environment {env_id!r}: {reason}") from error


def _parameters(factory: Callable[..., Any]) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(factory).parameters)
    except (TypeError, ValueError):  # written in C
        return ()


def _info_keys(env: Any) -> list[str]:
    """Return the keys of `info` after one step, for a message."""
    env.action_space.seed(0)
    _, first = env.reset(seed=0)
    info = env.step(env.action_space.sample())[-1]
    return sorted({str(key) for key in (*first, *info)})


def _attribute(env: Any, name: str) -> Any:
    """Return the attribute `name` of the environment or of one that it wraps; None if there is none."""
    while env is not None:
        if name in vars(env):
            return vars(env)[name]
        env = vars(env).get("env")
    return None


def _control_hz(env: Any) -> float:
    """Return the control steps per second: the frame rate of the environment, or the inverse of its time step."""
    rate = (getattr(env, "metadata", None) or {}).get("render_fps")
    step = getattr(getattr(env, "unwrapped", env), "dt", None)
    if rate:
        return float(rate)
    return 1 / float(step) if isinstance(step, int | float) and step > 0 else _USUAL_HZ


def _modules(env: Any) -> Iterator[str]:
    """Yield the modules of the class of the environment and of its base classes."""
    for each in type(getattr(env, "unwrapped", env)).__mro__:
        yield each.__module__


def _is_of_user(module: str) -> bool:
    import sysconfig
    from pathlib import Path

    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or any(folder in Path(file).parts for folder in _LIBRARY_FOLDERS):
        return False
    return not Path(file).is_relative_to(sysconfig.get_path("stdlib"))


def _versions(modules: list[str]) -> dict[str, str]:
    """Return the versions of the installed packages that hold `modules`."""
    known = _packages_of_modules(tuple(_places_of_packages()))
    names = {name for module in modules for name in known.get(module.partition(".")[0], ())}
    found = {}
    for name in sorted(names):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@lru_cache(maxsize=4)
def _packages_of_modules(places: tuple[tuple[str, int], ...]) -> Mapping[str, list[str]]:
    """Return the packages that hold each module, which takes long, once for each state of `_places_of_packages`."""
    return packages_distributions()


def _places_of_packages() -> Iterator[tuple[str, int]]:
    """Yield each place of `sys.path` that holds installed packages, and when a package was last added there."""
    for place in sys.path:
        with suppress(OSError):
            if any(name.endswith((".dist-info", ".egg-info")) for name in os.listdir(place or ".")):
                yield place or os.getcwd(), os.stat(place or ".").st_mtime_ns
