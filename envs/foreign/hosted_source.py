"""What a host runs: makes environments, and describes them. `host.py` loads this file, in any interpreter.

It runs under Python 3.8 and imports NumPy alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import random
import sys
from pathlib import Path
from typing import Any, Callable, Mapping

import numpy as np

answering: Any = importlib.import_module("answering")
gym_slot: Any = importlib.import_module("gym_slot")

USUAL_HZ = 30.0
"""Control rate of an environment that states none."""
FILM_CAMERA = "render"
"""Name of the film camera of an environment that draws itself."""


class Recorded:
    """An environment that keeps its newest observation, as it gave it, for policies of this interpreter."""

    def __init__(self, env: Any) -> None:
        self.env, self.observation = env, None
        self.observation_space, self.action_space = env.observation_space, env.action_space

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)

    def reset(self, seed: int, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode. Packages that draw from the random numbers of the process get the same ones again."""
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        self.observation, info = self.env.reset(seed=seed, options=options)
        return self.observation, info

    def step(self, action: np.ndarray) -> tuple[Any, ...]:
        """Advance by one control step."""
        result: tuple[Any, ...] = self.env.step(action)
        self.observation = result[0]
        return result

    @property
    def raw_observation(self) -> Any:
        """What a policy of this interpreter gets."""
        return getattr(self.env, "raw_observation", self.observation)


class Source:
    """Makes environments: of a suite file, by an id of Gymnasium, or by a function."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.expert = _no_expert
        self.keywords, self.tasks = dict(body.get("keywords") or {}), list(body.get("tasks") or [None])
        self._packages = list(body.get("packages") or ())
        _check_versions(body.get("packages") or {}, self.versions())
        if "suite" in body:
            suite = _load_suite(Path(body["suite"]))
            self._make: Callable[..., Any] = suite.make
            self.expert = getattr(suite, "expert", _no_expert)
        else:
            sys.path.insert(0, os.getcwd())
        if "gym" in body:
            self._make = lambda **keywords: _by_id(body["gym"], keywords)
            self._packages.append("gymnasium")
        elif "factory" in body:
            factory = attribute(body["factory"])
            self._make = factory
            if "render_mode" in _parameters(factory):
                self.keywords = {"render_mode": "rgb_array", **self.keywords}
        self.success, self._limit = body.get("success"), body.get("limit")
        self.most_state_bytes = 0
        """Largest size of the state of a task that has been described."""

    def make(self, task: str | None) -> Recorded:
        """Make an environment, of `task` if it is a suite."""
        arguments = [] if task is None else [task]
        return Recorded(self._make(*arguments, **self.keywords))

    def slot(
        self, env: Recorded, *, terminate_on_success: bool, limit: int | None, memory: np.ndarray | None = None
    ) -> Any:
        """Return the environment as a `GymSlot`, which keeps its newest state in `memory`."""
        rule = self.success or details(env).get("success_rule")
        if not rule:
            raise gym_slot.SetUpError(
                f"the environment does not say what a success is; name it with --success: {gym_slot.SUCCESS_RULES}"
            )
        return gym_slot.GymSlot(
            env,
            gym_slot.SuccessRule(rule),
            terminate_on_success=terminate_on_success,
            max_episode_steps=limit or self.limit(env),
            memory=memory,
        )

    def limit(self, env: Recorded) -> int:
        """Return the time limit of an episode in control steps."""
        spec = getattr(env, "spec", None)
        known = (self._limit, details(env).get("max_episode_steps"), getattr(spec, "max_episode_steps", None))
        for steps in (*known, _wrapped_limit(env.env)):
            if steps:
                return int(steps)
        raise gym_slot.SetUpError("the environment has no time limit; give one with --max-episode-steps")

    def versions(self) -> dict[str, str | None]:
        """Return the version of each package that decides the results; None if it is not installed."""
        return {name: answering.package_version(name) for name in self._packages}


def details(env: Any) -> Mapping[str, Any]:
    """Return what a suite says about its environment beyond the interface of Gymnasium."""
    found: Mapping[str, Any] = getattr(env, "details", None) or {}
    return found


def describe(source: Source, task: str | None) -> dict[str, Any]:
    """Make an environment, begin an episode, and return all about it that its specification needs."""
    env = source.make(task)
    slot = source.slot(env, terminate_on_success=True, limit=None)
    info = slot.reset(0, None)
    source.most_state_bytes = max(source.most_state_bytes, slot.observations.most_state_bytes)
    given, actions = details(env), slot.actions
    rate = given.get("control_hz") or (getattr(env, "metadata", None) or {}).get("render_fps") or USUAL_HZ
    described = {
        "vectors": {
            key: given.get("vectors", {}).get(key) or {"features": [[key, size, "", ""]]}
            for key, size in slot.observations.vectors.items()
        },
        "cameras": {**slot.observations.cameras, **dict.fromkeys(given.get("cameras", ()))},
        "film_cameras": list(given.get("cameras", ())) or [FILM_CAMERA] * bool(_mode(env)),
        "action": {
            "names": given.get("action_names") or actions.names,
            "low": actions.low,
            "high": actions.high,
            "meaning": given.get("action_meaning") or actions.text,
            "idle": given.get("idle", "zero"),
        },
        "control_hz": float(rate),
        "max_episode_steps": source.limit(env),
        "success": given.get("success") or gym_slot.SuccessRule(source.success).in_words,
        "distinct_starts": given.get("distinct_starts"),
        "has_instructions": isinstance(info.get("instruction"), str),
    }
    env.close()
    return described


def _check_versions(expected: Mapping[str, str], found: Mapping[str, str | None]) -> None:
    """Check that the packages of a suite are installed in the versions of its lock file."""
    if lacking := [name for name in expected if found[name] is None]:
        raise gym_slot.SetUpError(
            f"{sys.executable} lacks {' and '.join(lacking)}; install them there, or leave out --env-python"
        )
    for name, version in expected.items():
        if found[name] != version:
            raise gym_slot.SetUpError(
                f"expected {name} {version}, {sys.executable} has {found[name]}; install it with: "
                f"pip install {name}=={version}, or leave out --env-python and run: python -m envs install"
            )


def _load_suite(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("simscale_suite", str(path))
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _no_expert(task: str) -> Any:
    raise gym_slot.SetUpError("this environment has no expert; name a policy with --model host:module:attribute")


def _mode(env: Any) -> str | None:
    mode = getattr(env, "render_mode", None)
    return mode if mode in ("rgb_array", "rgb_array_list") else None


def _parameters(factory: Callable[..., Any]) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(factory).parameters)
    except (TypeError, ValueError):  # written in C
        return ()


def _by_id(env_id: str, keywords: dict[str, Any]) -> Any:
    gymnasium: Any = importlib.import_module("gymnasium")
    module, _, own_id = env_id.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        spec = gymnasium.spec(own_id)
    except (ImportError, gymnasium.error.Error) as error:
        hint = "" if module else f"; if a package registers it, use gym:package:{own_id}"
        raise gym_slot.SetUpError(f"{error}{hint}") from None
    if "render_mode" not in keywords and "rgb_array" in _render_modes(spec):
        keywords = {"render_mode": "rgb_array", **keywords}
    return gymnasium.make(own_id, **keywords)


def _render_modes(spec: Any) -> Any:
    creator = spec.entry_point
    if isinstance(creator, str):
        creator = attribute(creator)
    return getattr(creator, "metadata", {}).get("render_modes", ())


def _wrapped_limit(env: Any) -> Any:
    """Return the time limit of an environment or of one that it wraps; None if there is none."""
    while env is not None:
        if "_max_episode_steps" in vars(env):
            return vars(env)["_max_episode_steps"]
        env = vars(env).get("env")
    return None


def attribute(name: str) -> Any:
    """Import and return "module:attribute".

    Raises:
        SetUpError: If there is no such module or attribute.
    """
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise gym_slot.SetUpError(f"cannot import {name!r} in {sys.executable} ({error})") from None
