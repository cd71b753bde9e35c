"""`SlotEnv`, the interface between the evaluator and an environment, and `check_slots`, which tests an environment.

To write an environment of your own, import this module alone: it re-exports the classes of the contract. Register the
environment with `envs.registration.register_environment`, or as an entry point of the group `simscaleai.envs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from simscaleai.contract import ActionSpec, EnvSpec, Feature, Layout, Needs, Observation
from simscaleai.errors import ConformanceError, SlotFault

__all__ = [
    "ActionSpec",
    "Begun",
    "EnvSpec",
    "Feature",
    "Layout",
    "Needs",
    "Observation",
    "SlotEnv",
    "SlotFault",
    "Start",
    "Transition",
    "check_slots",
    "repeats_itself",
]

Slots = NDArray[np.intp]
"""Indices of slots, shape (n,), ascending and distinct."""


@dataclass(frozen=True)
class Start:
    """Seed and options of one episode."""

    seed: int
    """The only source of randomness of the episode."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Choices that replace random draws, for example `target` or `instruction`."""


@dataclass(frozen=True)
class Begun:
    """What `SlotEnv.reset` reports about a new episode."""

    instruction: str = ""
    """The task of the episode in words; "" if the environment gives no instructions."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Properties of the episode to store in the record, as JSON data, for example `target`."""
    stage: str = ""
    """Progress of the episode before its first step, in one word; "" if unknown."""


@dataclass(frozen=True)
class Transition:
    """Result of one control step. Every field has one entry for each stepped slot, in the same order."""

    reward: NDArray[np.float64]
    """Reward, shape (n,)."""
    terminated: NDArray[np.bool_]
    """Whether the task ended the episode, shape (n,)."""
    truncated: NDArray[np.bool_]
    """Whether the time limit ended the episode, shape (n,)."""
    success: NDArray[np.bool_]
    """Whether the success rule holds now, shape (n,)."""
    executed: NDArray[np.float32]
    """Actions after clipping, shape (n, A); a row of zeros for an action that was not finite."""
    failure: Sequence[str]
    """Failure class of each episode that this step ended without success; "" for all others."""
    stage: Sequence[str]
    """Progress of each episode, in one word; "" if unknown."""


class SlotEnv(Protocol):
    """N independent slots. Each runs one episode at a time, from a `Start` until it terminates or is truncated.

    An episode depends only on its start and its actions, not on its slot or on other slots. A call changes only the
    slots that it names. The evaluator does not step a slot between the end of its episode and the next reset.

    An action that is not finite ends the episode at that step: `terminated`, failure "invalid_action", state unchanged.
    A simulation that diverges also ends its episode, with the failure "diverged". If the simulator itself breaks, the
    method raises `SlotFault`.
    """

    spec: EnvSpec
    """All that the environment offers. Its observations hold only the keys of the needs that it was made with."""
    num_slots: int
    """Number of slots, N."""

    def reset(self, slots: Slots, starts: Sequence[Start]) -> list[Begun]:
        """Begin an episode in each of `slots`."""
        ...

    def observe(self, slots: Slots, with_images: NDArray[np.bool_]) -> Observation:
        """Return fresh observations of `slots`.

        Args:
            slots: Slots to observe, shape (n,).
            with_images: Whether each slot needs images, shape (n,). Image rows of the other slots are zero.

        Returns:
            Arrays that the caller owns, one row per slot, one key per vector and per camera.
        """
        ...

    def step(self, slots: Slots, actions: NDArray[np.float32]) -> Transition:
        """Advance `slots` by one control step with `actions`, shape (n, A); values out of range are clipped."""
        ...

    def state(self, slots: Slots) -> list[bytes]:
        """Return the state of each slot as bytes. The digest of an episode covers it after every step."""
        ...

    def frame(self, slot: int, camera: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return a picture of `slot` for a film, shape (height, width, 3), from one of `spec.film_cameras`."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """Return what results depend on besides this process's libraries, as JSON data, for example the GL driver."""
        ...

    def close(self) -> None:
        """Free all resources."""
        ...


def check_slots(env: SlotEnv, *, seeds: Sequence[int] = (0, 1), steps: int = 20, films: bool = True) -> list[str]:
    """Check that `env` keeps the promises of `SlotEnv`.

    Runs a few episodes with random actions. `env` must have at least 2 slots, and can still be used afterwards.

    Args:
        env: The environment.
        seeds: Two different seeds.
        steps: Control steps of each trial episode, at most.
        films: Whether to check the pictures for films.

    Returns:
        The promises that were checked, in words.

    Raises:
        ConformanceError: If a promise is broken. The message names the first broken promise.
    """
    if env.num_slots < 2:
        raise ConformanceError(f"expected an environment with at least 2 slots to check, got {env.num_slots}")
    promises, (first, second) = _Promises(), (Start(seed) for seed in seeds)
    alone = _trial(promises, env, np.array([0]), [first], steps)
    _check_shapes(promises, env)
    beside = _trial(promises, env, np.array([0, 1]), [second, first], steps)
    if env.spec.repeats == "exact":
        promises.require(
            alone[0] == _trial(promises, env, np.array([1]), [first], steps)[0],
            "the same start repeats in another slot",
        )
        promises.require(alone[0] == beside[1], "an episode does not depend on other slots")
    if env.spec.distinct_starts is None:
        promises.require(beside[0] != beside[1], "different seeds give different episodes")
    _check_untouched(promises, env, first, second)
    _check_rows(promises, env, first, second)
    if films:
        _check_frames(promises, env)
    _check_limits(promises, env, first)
    _check_invalid_action(promises, env, first)
    return list(promises.kept)


def repeats_itself(env: SlotEnv, starts: Sequence[Start], *, steps: int = 10) -> bool:
    """Return whether an episode gives the same states when it runs again, in another slot and after another episode.

    `env` may have a single slot; then the episode runs again there.

    Args:
        env: The environment. It can still be used afterwards.
        starts: The start of the episode, and that of the other one.
        steps: Control steps of each episode, at most.
    """
    first, other = starts
    last = np.array([env.num_slots - 1])
    before = _trial(_Promises(), env, np.array([0]), [first], steps)
    _trial(_Promises(), env, last, [other], steps)
    return before == _trial(_Promises(), env, last, [first], steps)


class _Promises:
    """The promises that an environment was found to keep."""

    def __init__(self) -> None:
        self.kept: dict[str, None] = {}

    def require(self, holds: bool, promise: str) -> None:
        """Note `promise`, or raise `ConformanceError` if it does not hold."""
        if not holds:
            raise ConformanceError(f"broken promise: {promise}")
        self.kept[promise] = None


def _random_actions(spec: EnvSpec, seed: int, steps: int) -> NDArray[np.float32]:
    low, high = np.array(spec.action.low), np.array(spec.action.high)
    span = np.random.default_rng(seed).uniform(0, 1, (steps, spec.action.size))
    return np.asarray(np.maximum(low, -1e3) + span * (np.minimum(high, 1e3) - np.maximum(low, -1e3)), np.float32)


def _trial(promises: _Promises, env: SlotEnv, slots: Slots, starts: Sequence[Start], steps: int) -> list[list[bytes]]:
    """Run one episode in each of `slots` with the same random actions; return the states of each episode."""
    begun = env.reset(slots, starts)
    promises.require(len(begun) == len(slots), "reset returns one Begun per slot")
    states = {int(slot): [state] for slot, state in zip(slots, env.state(slots), strict=True)}
    running = slots
    for action in _random_actions(env.spec, 0, steps):
        if not running.size:
            break
        transition = env.step(running, np.tile(action, (len(running), 1)))
        _check_transition(promises, env.spec, transition, len(running))
        for slot, state in zip(running.tolist(), env.state(running), strict=True):
            states[slot].append(state)
        running = running[~(transition.terminated | transition.truncated)]
    return list(states.values())


def _check_transition(promises: _Promises, spec: EnvSpec, transition: Transition, n: int) -> None:
    for name, dtype in {"reward": "float64", "terminated": "bool", "truncated": "bool", "success": "bool"}.items():
        values = getattr(transition, name)
        fits = values.shape == (n,) and values.dtype == dtype
        promises.require(fits, f"Transition.{name} is {dtype} of shape (n,)")
    executed = transition.executed
    shape = (n, spec.action.size)
    promises.require(
        executed.shape == shape and executed.dtype == np.float32, f"Transition.executed is float32 {shape}"
    )
    promises.require(len(transition.failure) == len(transition.stage) == n, "failure and stage have one entry per slot")


def _check_shapes(promises: _Promises, env: SlotEnv) -> None:
    slots = np.arange(1)
    observation = env.observe(slots, np.ones(1, dtype=bool))
    again = env.observe(slots, np.ones(1, dtype=bool))
    for key, rows in observation.items():
        promises.require(
            key in env.spec.vectors or key in env.spec.cameras, f"observation {key!r} is named by the spec"
        )
        if key in env.spec.vectors:
            shape = (1, env.spec.vectors[key].size)
            promises.require(
                rows.shape == shape and rows.dtype == np.float32, f"observation {key!r} is float32 {shape}"
            )
        else:
            promises.require(
                rows.ndim == 4 and rows.dtype == np.uint8, f"observation {key!r} is uint8 (n, height, width, 3)"
            )
        promises.require(not np.shares_memory(rows, again[key]), f"the caller owns observation {key!r}")
        promises.require(rows.tobytes() == again[key].tobytes(), f"observing {key!r} twice gives the same")


def _check_untouched(promises: _Promises, env: SlotEnv, first: Start, second: Start) -> None:
    """Check that reset and step of slot 1 leave slot 0 as it is."""
    env.reset(np.array([0, 1]), [first, second])
    env.step(np.array([0]), _random_actions(env.spec, 1, 1))
    before = env.state(np.array([0]))
    env.step(np.array([1]), _random_actions(env.spec, 1, 1))
    env.reset(np.array([1]), [second])
    promises.require(env.state(np.array([0])) == before, "slots that a call does not name stay as they are")


def _check_rows(promises: _Promises, env: SlotEnv, first: Start, second: Start) -> None:
    """Check that the rows of observations belong to the slots, and that only wanted images are drawn."""
    slots = np.array([0, 1])
    env.reset(slots, [first, second])
    both = env.observe(slots, np.ones(2, dtype=bool))
    without = env.observe(slots, np.zeros(2, dtype=bool))
    for slot in slots:
        alone = env.observe(np.array([slot]), np.ones(1, dtype=bool))
        promises.require(alone.keys() == both.keys(), "observations have the same keys at every call")
        for key, rows in alone.items():
            same = rows.tobytes() == both[key][slot : slot + 1].tobytes()
            promises.require(same, f"row i of observation {key!r} belongs to the i-th slot that was asked for")
    undrawn = [not without[key].any() for key in env.spec.cameras if key in without]
    promises.require(all(undrawn), "image rows of slots that need no images are zero")


def _check_frames(promises: _Promises, env: SlotEnv) -> None:
    for camera in env.spec.film_cameras:
        frame = env.frame(0, camera, (32, 48))
        fits = frame.shape == (32, 48, 3) and frame.dtype == np.uint8
        promises.require(fits, f"a frame of camera {camera!r} is uint8 of the size that was asked for")


def _check_limits(promises: _Promises, env: SlotEnv, start: Start) -> None:
    high = np.array(env.spec.action.high, dtype=np.float32)
    if not np.isfinite(high).all():
        return
    env.reset(np.array([0]), [start])
    executed = env.step(np.array([0]), np.float32(2) * np.abs(high[None]) + np.float32(1)).executed
    promises.require(bool((executed == high).all()), "actions above the highest values are clipped to them")


def _check_invalid_action(promises: _Promises, env: SlotEnv, start: Start) -> None:
    env.reset(np.array([0]), [start])
    before = env.state(np.array([0]))
    transition = env.step(np.array([0]), np.full((1, env.spec.action.size), np.nan, dtype=np.float32))
    ended = bool(transition.terminated[0]) and transition.failure[0] == "invalid_action"
    promises.require(ended, 'an action that is not finite terminates the episode with the failure "invalid_action"')
    promises.require(not transition.executed.any(), "executed is zero for an action that is not finite")
    promises.require(env.state(np.array([0])) == before, "an action that is not finite leaves the state unchanged")
