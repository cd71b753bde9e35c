"""One environment with the interface of Gymnasium as one slot: its success rule, and its episodes.

This file runs under Python 3.8 and imports NumPy and `gym_spaces` alone. A process in another interpreter loads both by
their paths.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Mapping, NamedTuple

import numpy as np

if TYPE_CHECKING or __package__:
    from envs.foreign.gym_spaces import (
        CHANNELS,
        ActionSpace,
        EpisodeError,
        ObservationSpace,
        Observed,
        SetUpError,
        image_in,
        rgb_image,
    )
else:  # in another interpreter, where `envs` is no package
    from gym_spaces import (
        CHANNELS,
        ActionSpace,
        EpisodeError,
        ObservationSpace,
        Observed,
        SetUpError,
        image_in,
        rgb_image,
    )

SUCCESS_RULES = "info:KEY, terminated, or return>=NUMBER"

_BEGUN = ("observation", "info")
_STEPPED = ("observation", "reward", "terminated", "truncated", "info")

OUT_OF_TIME = "time_limit"
"""Failure class: the time limit ended the episode."""

ENDED = "terminated"
"""Failure class: the environment terminated the episode, and the success rule did not hold."""

INVALID_ACTION = "invalid_action"
"""Failure class: an action was not finite."""

FAILURES = ("", OUT_OF_TIME, ENDED, INVALID_ACTION)
"""All failure classes; "" for a step that did not end the episode, or ended it with success."""


class SuccessRule:
    """When an episode is a success: `info:KEY` is true, the environment terminates it, or its return is large enough.

    The rule `return>=NUMBER` is judged at the last step of the episode, since a return can also fall.
    """

    def __init__(self, text: str) -> None:
        """Read `text`, for example "info:is_success", "terminated" or "return>=90".

        Raises:
            SetUpError: If it is none of these.
        """
        self.text = text
        self.key = text[len("info:") :] if text.startswith("info:") else None
        """Key of `info` that holds the success; None for another rule."""
        self.least: float | None = None
        """Return that is needed; None for another rule."""
        if text.startswith("return>="):
            self.least = _number(text[len("return>=") :])
        if not self.key and text != "terminated" and (self.least is None or not np.isfinite(self.least)):
            raise SetUpError(f"expected --success as {SUCCESS_RULES}, got {text!r}")

    @property
    def in_words(self) -> str:
        """The rule in words."""
        if self.key:
            return f"info[{self.key!r}] is true"
        if self.least is not None:
            return f"the return of the episode is at least {self.least:g}"
        return "the environment terminates the episode"

    def holds(self, info: Mapping[str, Any], total: float, *, terminated: bool, is_last: bool) -> bool:
        """Return whether the rule holds after a step.

        Args:
            info: Dictionary of the step.
            total: Return of the episode so far.
            terminated: Whether the environment terminated the episode at this step.
            is_last: Whether this step is the last one of the episode.
        """
        if self.key:
            return bool(np.count_nonzero(info.get(self.key, False)))
        return terminated if self.least is None else is_last and total >= self.least


class Stepped(NamedTuple):
    """Result of one control step of one slot."""

    reward: float
    terminated: bool
    truncated: bool
    success: bool
    executed: np.ndarray
    """Action after clipping, float32 (A,)."""
    failure: str
    """Failure class if the step ended the episode without success; "" otherwise."""


class GymSlot:
    """Runs episodes in one environment. It is reset only when an episode begins, never at the end of one."""

    def __init__(
        self,
        env: Any,
        success: SuccessRule,
        *,
        terminate_on_success: bool,
        max_episode_steps: int,
        memory: np.ndarray | None = None,
    ) -> None:
        """Run episodes in `env`.

        Args:
            env: The environment, with the interface of Gymnasium.
            success: When an episode is a success.
            terminate_on_success: Whether success ends an episode.
            max_episode_steps: Time limit in control steps.
            memory: Where the newest state is kept, uint8 (n,), large enough; None for memory of its own.
        """
        self.env = env
        """The environment, with the interface of Gymnasium."""
        self.observations, self.actions = ObservationSpace(env.observation_space), ActionSpace(env.action_space)
        self._success, self._terminate_on_success, self._limit = success, terminate_on_success, max_episode_steps
        self._memory = np.empty(self.observations.most_state_bytes, dtype=np.uint8) if memory is None else memory
        self.observed = Observed({}, {}, 0)
        """The newest observation, not to be changed."""

    def reset(self, seed: int, options: dict[str, Any] | None = None) -> Mapping[str, Any]:
        """Begin an episode and return the dictionary `info` of the environment.

        Raises:
            EpisodeError: If the observation is not in its space.
            SetUpError: If the environment has not the interface of Gymnasium.
        """
        observation, info = _parts("reset", self.env.reset(seed=seed, options=options or None), _BEGUN)
        self._steps, self._total, self._has_key = 0, 0.0, False
        self._keep(observation, 0.0)
        return dict(info)

    def step(self, action: np.ndarray) -> Stepped:
        """Advance by one control step with `action`, float32 (A,).

        Raises:
            EpisodeError: If the observation is not in its space, or the reward is not finite.
            SetUpError: If the episode ends and the key of the success rule was never in `info`, or the environment has
                not the interface of Gymnasium.
        """
        if not all(map(math.isfinite, action.tolist())):
            nothing = np.zeros(len(action), dtype=np.float32)
            return Stepped(0.0, True, False, False, nothing, INVALID_ACTION)
        executed = self.actions.clip(action)
        answer = self.env.step(self.actions.write(executed))
        observation, reward, terminated, truncated, info = _parts("step", answer, _STEPPED)
        reward, terminated = float(reward), bool(terminated)
        self._steps, self._total = self._steps + 1, self._total + reward
        truncated = bool(truncated) or self._steps >= self._limit
        self._keep(observation, reward)
        is_last = terminated or truncated
        success = self._success.holds(info, self._total, terminated=terminated, is_last=is_last)
        self._check_key(info, is_last)
        terminated = terminated or (success and self._terminate_on_success)
        failure = "" if success or not is_last else (ENDED if terminated else OUT_OF_TIME)
        return Stepped(reward, terminated, truncated and not terminated, success, executed, failure)

    @property
    def state(self) -> bytes:
        """The newest observation and reward in bytes."""
        return self._memory[: self.observed.state_bytes].tobytes()

    def image(self, camera: str) -> np.ndarray:
        """Return the newest image of `camera`, uint8 (height, width, 3), not to be changed."""
        return image_in(self._memory, self.observed.places[camera])

    def render(self) -> np.ndarray:
        """Return a picture of any size, uint8 (height, width, 3).

        Raises:
            SetUpError: If the environment gives no picture.
        """
        picture = self.env.render()
        if isinstance(picture, list) and picture:  # the render mode "rgb_array_list"
            picture = picture[-1]
        array = np.asarray(picture)
        if array.ndim != 3 or array.shape[2] not in CHANNELS or array.dtype != np.uint8:
            got = f"{array.dtype} of shape {array.shape}" if isinstance(picture, np.ndarray) else type(picture).__name__
            raise SetUpError(f"expected render() to give a uint8 picture (height, width, 3), got {got}")
        return rgb_image(array).copy()

    def _keep(self, observation: Any, reward: float) -> None:
        if not math.isfinite(reward):
            raise EpisodeError(f"the environment gave a reward that is not finite ({reward})")
        self.observed = self.observations.read(observation, reward, self._memory)

    def _check_key(self, info: Mapping[str, Any], is_last: bool) -> None:
        key = self._success.key
        self._has_key = self._has_key or key in info
        if key and is_last and not self._has_key:
            there = ", ".join(sorted(map(str, info))) or "nothing"
            raise SetUpError(
                f"info never had the key {key!r} in an episode, so its success is unknown; "
                f"at the last step it had: {there}; choose another --success"
            )


def _parts(method: str, answer: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    """Return the answer of a method of the environment, a tuple of what `names` says; the last part is a dictionary."""
    if isinstance(answer, tuple) and len(answer) == len(names) and isinstance(answer[-1], Mapping):
        return answer
    got = type(answer).__name__
    if isinstance(answer, tuple):
        got = "({})".format(", ".join(type(part).__name__ for part in answer))
    raise SetUpError(
        f"expected {method}() to return ({', '.join(names)}) with a dictionary as info, as in Gymnasium, got {got}"
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
