"""A host: runs environments in this interpreter, for a process that runs in another one.

A stand-alone script for Python 3.8 and newer. It needs NumPy and what it hosts. `simscaleai.hosting.process` starts it
with the numbers of two sockets: one for messages, and one that closes when the other process ends. Each message is a
call, `{"call": NAME, …}`, and gets one answer; an answer with "error" says that the call failed.
"""

from __future__ import annotations

import fcntl
import importlib
import importlib.util
import os
import platform
import random
import signal
import socket
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Callable, Mapping

import numpy as np

if TYPE_CHECKING:
    Arrays = Mapping[str, np.ndarray]
    Answer = tuple[dict[str, Any], dict[str, np.ndarray]]

HERE = Path(__file__).resolve().parent
USUAL_HZ = 30.0
"""Control rate of an environment that states none."""
FILM_CAMERA = "render"


def load_file(name: str, path: Path) -> ModuleType:
    """Import the file `path` as the module `name`."""
    spec = importlib.util.spec_from_file_location(name, str(path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


wire: Any = load_file("simscale_wire", HERE.parents[1] / "simscaleai" / "hosting" / "wire.py")
gym_slot: Any = load_file("simscale_gym_slot", HERE / "gym_slot.py")


class PolicyError(Exception):
    """A hosted policy raised an exception."""


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
        result: tuple[Any, ...] = self.env.step(action)
        self.observation = result[0]
        return result

    @property
    def raw_observation(self) -> Any:
        """What a policy of this interpreter gets."""
        return getattr(self.env, "raw_observation", self.observation)


# What is hosted


class Source:
    """Makes environments: of a suite file, by an id of Gymnasium, or by a function."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.keywords, self._task = dict(body.get("keywords") or {}), body.get("task")
        self._packages = list(body.get("packages") or ())
        if "suite" in body:
            suite: Any = load_file("simscale_suite", Path(body["suite"]))
            self._make: Callable[..., Any] = suite.make
        else:
            sys.path.insert(0, os.getcwd())
        if "gym" in body:
            self._make = lambda **keywords: _by_id(body["gym"], keywords)
            self._packages.append("gymnasium")
        elif "factory" in body:
            self._make = _attribute(body["factory"])
        self.success, self._limit = body.get("success"), body.get("limit")

    def make(self, task: str | None = None) -> Recorded:
        """Make an environment, of `task` if it is a suite."""
        arguments = [] if self._task is None else [task or self._task]
        return Recorded(self._make(*arguments, **self.keywords))

    def slot(self, env: Recorded, *, terminate_on_success: bool, limit: int | None) -> Any:
        """Return the environment as a `GymSlot`."""
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
        return {name: package_version(name) for name in self._packages}


def details(env: Any) -> Mapping[str, Any]:
    """Return what a suite says about its environment beyond the interface of Gymnasium."""
    found: Mapping[str, Any] = getattr(env, "details", None) or {}
    return found


def describe(source: Source) -> dict[str, Any]:
    """Make an environment, begin an episode, and return all about it that its specification needs."""
    env = source.make()
    slot = source.slot(env, terminate_on_success=True, limit=None)
    info = slot.reset(0, None)
    given, actions = details(env), slot.actions
    rate = given.get("control_hz") or (getattr(env, "metadata", None) or {}).get("render_fps") or USUAL_HZ
    described = {
        "vectors": {
            key: given.get("vectors", {}).get(key) or {"features": [[key, size, "", ""]]}
            for key, size in slot.observations.vectors.items()
        },
        "cameras": {**slot.observations.cameras, **{name: None for name in given.get("cameras", ())}},
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
        "has_instructions": isinstance(info.get("instruction"), str),
    }
    env.close()
    return described


def _mode(env: Any) -> str | None:
    mode = getattr(env, "render_mode", None)
    return mode if mode in ("rgb_array", "rgb_array_list") else None


def _by_id(env_id: str, keywords: dict[str, Any]) -> Any:
    gymnasium: Any = importlib.import_module("gymnasium")
    module, colon, _ = env_id.partition(":")
    if colon:
        importlib.import_module(module)
    try:
        spec = gymnasium.spec(env_id)
    except gymnasium.error.Error as error:
        raise gym_slot.SetUpError(f"{error}; if a package registers it, use package:{env_id}") from None
    if "render_mode" not in keywords and "rgb_array" in _render_modes(spec):
        keywords = {"render_mode": "rgb_array", **keywords}
    return gymnasium.make(env_id, **keywords)


def _render_modes(spec: Any) -> Any:
    creator = spec.entry_point
    if isinstance(creator, str):
        creator = _attribute(creator)
    return getattr(creator, "metadata", {}).get("render_modes", ())


def _wrapped_limit(env: Any) -> Any:
    """Return the time limit of an environment or of one that it wraps; None if there is none."""
    while env is not None:
        if "_max_episode_steps" in vars(env):
            return vars(env)["_max_episode_steps"]
        env = vars(env).get("env")
    return None


def _attribute(name: str) -> Any:
    """Import and return "module:attribute".

    Raises:
        SetUpError: If there is no such module or attribute.
    """
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise gym_slot.SetUpError(f"cannot import {name!r} in {sys.executable} ({error})") from None


def package_version(name: str) -> str | None:
    """Return the version of an installed package; None if it is not installed."""
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


# Answering


class Host:
    """Answers calls: the methods without an underscore."""

    def __init__(self) -> None:
        self._source: Any = None
        self._slots: dict[int, Any] = {}
        self._tasks: dict[int, str | None] = {}
        self._policies: dict[int, Any] = {}
        self._busy: int | None = None
        """Slot whose environment is called."""

    def answer(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Carry out a call; an exception becomes an answer, too."""
        self._busy = None
        try:
            return getattr(self, body["call"])(body, arrays)  # type: ignore[no-any-return]
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit, too: research code calls sys.exit
            return self._failed(error), {}

    def _failed(self, error: BaseException) -> dict[str, Any]:
        kind = "fault"
        if isinstance(error, gym_slot.SetUpError):
            kind = "mistake"
        elif isinstance(error, PolicyError):
            kind = "policy"
        elif self._busy is not None:  # the next episode there begins in a new environment
            self._slots.pop(self._busy, None)
        known = isinstance(error, (gym_slot.SetUpError, gym_slot.EpisodeError, PolicyError))
        return {"error": kind, "text": str(error) if known else reason_text(error), "slot": self._busy}

    def open(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Say what is hosted, and return its description and where it runs."""
        self._source = Source(body)
        return {"description": describe(self._source), "versions": self._source.versions()}, {}

    def make(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Fix how episodes end, and which cameras are drawn with which size; return where the host runs."""
        self._terminate, self._limit = bool(body["terminate_on_success"]), body["limit"]
        self._cameras = {name: tuple(size) for name, size in body["cameras"].items()}
        libraries = {**self._source.versions(), "numpy": np.__version__}
        return {"python": platform.python_version(), "libraries": libraries}, {}

    def reset(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Begin an episode in each of `slots`."""
        infos = [self._reset(*each) for each in zip(body["slots"], body["seeds"], body["options"])]
        words = [info.get("instruction") for info in infos]
        begun = {"instructions": [each if isinstance(each, str) else "" for each in words]}
        return begun, self._seen(body["slots"])

    def _reset(self, slot: int, seed: int, options: dict[str, Any]) -> Mapping[str, Any]:
        self._busy, task = slot, options.pop("task", None)
        if slot in self._slots and self._tasks[slot] != task:
            self._slots.pop(slot).env.close()
        if slot not in self._slots:
            env = self._source.make(task)
            self._tasks[slot] = task
            self._slots[slot] = self._source.slot(env, terminate_on_success=self._terminate, limit=self._limit)
        info: Mapping[str, Any] = self._slots[slot].reset(seed, options)
        return info

    def step(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Advance `slots` by one control step with the rows of the array `actions`."""
        stepped = [self._step(slot, action) for slot, action in zip(body["slots"], arrays["actions"])]
        results = {
            "reward": np.array([each.reward for each in stepped], dtype=np.float64),
            "ended": np.array([(each.terminated, each.truncated, each.success) for each in stepped], dtype=bool),
            "executed": np.array([each.executed for each in stepped], dtype=np.float32),
        }
        return {"failure": [each.failure for each in stepped]}, {**results, **self._seen(body["slots"])}

    def _step(self, slot: int, action: np.ndarray) -> Any:
        self._busy = slot
        return self._slots[slot].step(action)

    def _seen(self, slots: list[int]) -> dict[str, np.ndarray]:
        """Return the vectors, and the states as bytes one after the other with their lengths."""
        rows = [self._slots[slot].observation for slot in slots]
        states = [self._slots[slot].state for slot in slots]
        seen = {"vector." + key: np.stack([row[key] for row in rows]) for key in self._slots[slots[0]].observations.vectors}
        seen["lengths"] = np.array([len(state) for state in states], dtype=np.int64)
        seen["states"] = np.frombuffer(b"".join(states), dtype=np.uint8)
        return seen

    def images(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Return the images of all cameras in `slots`."""
        return {}, {
            camera: np.stack([self._image(slot, camera, size) for slot in body["slots"]])
            for camera, size in self._cameras.items()
        }

    def _image(self, slot: int, camera: str, size: tuple[int, int]) -> np.ndarray:
        self._busy, held = slot, self._slots[slot]
        if camera in held.observations.cameras:
            return held.observation[camera]  # type: ignore[no-any-return]
        return np.asarray(held.env.image(camera, size), dtype=np.uint8)

    def frame(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Return a picture for a film, of any size."""
        slot, camera = body["slot"], body["camera"]
        self._busy = slot
        if camera == FILM_CAMERA:
            return {}, {"frame": self._slots[slot].render()}
        return {}, {"frame": self._image(slot, camera, tuple(body["size"]))}

    # A policy of this interpreter

    def policy(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Say which policy acts, "module:attribute"."""
        self._make_policy = _attribute(body["policy"])
        self._policies.clear()
        return {}, {}

    def begin(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Begin an episode of the policy in each of `slots`."""
        for slot, seed, words in zip(body["slots"], body["seeds"], body["instructions"]):
            self._ask(self._begin, slot, seed, words)
        return {}, {}

    def _begin(self, slot: int, seed: int, words: str) -> None:
        self._policies[slot] = self._make_policy()
        if hasattr(self._policies[slot], "act") and hasattr(self._policies[slot], "reset"):
            self._policies[slot].reset(seed, words)

    def act(self, body: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Return the action of the policy in each of `slots`, given the observation as the environment gave it."""
        return {}, {"actions": np.stack([self._ask(self._act, slot) for slot in body["slots"]])}

    def _act(self, slot: int) -> np.ndarray:
        policy = self._policies[slot]
        names = [name for name in ("act", "get_action", "predict") if hasattr(policy, name)]
        action = (getattr(policy, names[0]) if names else policy)(self._slots[slot].env.raw_observation)
        if isinstance(action, tuple):  # action and memory, as Stable-Baselines3 returns them
            action = action[0]
        return np.asarray(action, dtype=np.float32).reshape(-1)

    def _ask(self, method: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return method(*arguments)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise PolicyError(reason_text(error)) from error


def reason_text(error: BaseException) -> str:
    """Return the exception and its place, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return " ".join(f"{type(error).__name__}: {error}".split()) + place


def end_with_parent(lifeline: socket.socket) -> None:
    """Let the system end this process when the socket closes, whatever this process is doing: SIGIO, by default."""
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    lifeline.setblocking(False)
    try:
        if lifeline.recv(1) == b"":  # it has closed already
            sys.exit(1)
    except BlockingIOError:
        pass


def main(connection_number: int, lifeline_number: int) -> None:
    """Answer calls until the other process closes the connection."""
    connection, lifeline = (socket.socket(fileno=number) for number in (connection_number, lifeline_number))
    for each in (connection, lifeline):
        os.set_inheritable(each.fileno(), False)
    end_with_parent(lifeline)
    del sys.path[0]  # the folder of this file, whose names are not for others
    host = Host()
    while True:
        try:
            body, arrays = wire.receive(connection)
            wire.send(connection, *host.answer(body, arrays))
        except (wire.Closed, OSError):
            os._exit(0)  # libraries of others may hang while they close


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
