"""Calls of the policy and of the environment: every exception is attributed to the policy or to the infrastructure.

An exception of the policy, and an answer of the wrong type, shape or dtype, count as a failure of the policy. An
exception of the simulator, and a policy that is unavailable, count as an error of the infrastructure. A `SimScaleError`
of the environment means that the set-up is wrong; it ends the run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from envs.slots import Begun, SlotEnv, SlotFault, Start, Transition
from eval.episodes.pulse import ENVIRONMENT, POLICY, Pulse
from eval.episodes.results import ENVIRONMENT_EXCEPTION, POLICY_EXCEPTION, POLICY_UNAVAILABLE, Status
from policies.base import Policy
from simscaleai.contract import Observation
from simscaleai.errors import PolicyUnavailable, SimScaleError

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")
Slots = NDArray[np.intp]


class Fault(Exception):
    """A fault in one or several running episodes. It ends an episode only if that episode runs alone."""

    def __init__(self, status: Status, failure: str, slots: Sequence[int] | None = None) -> None:
        """Attribute the fault.

        Args:
            status: Status of an episode that the fault ends: "failure" (of the policy) or "error" (infrastructure).
            failure: Class of the failure or error.
            slots: Slots that are known to be affected; None if that is not known.
        """
        super().__init__(failure)
        self.status = status
        self.failure = failure
        self.slots = None if slots is None else frozenset(slots)


@contextmanager
def logged(action: str) -> Iterator[None]:
    """Log an exception of the block instead of raising it; `action` says what the block does.

    It is for closing: an exception there would hide the one that has ended a run, or end a run that is complete.
    """
    try:
        yield
    except (Exception, SystemExit):
        logger.exception("%s failed", action)


@contextmanager
def attributed_to_environment() -> Iterator[None]:
    """Raise an exception of the block as a `Fault` of the infrastructure, except that a `SimScaleError` stays one."""
    try:
        yield
    except SimScaleError:
        raise
    except SlotFault as error:
        raise Fault("error", ENVIRONMENT_EXCEPTION, error.slots) from error
    except (Exception, SystemExit) as error:
        raise Fault("error", ENVIRONMENT_EXCEPTION) from error


class PolicyCalls:
    """Calls one policy and raises its faults as `Fault`."""

    def __init__(self, policy: Policy, action_size: int, pulse: Pulse) -> None:
        """Call `policy`, whose actions have `action_size` numbers, and note the time of each call in `pulse`."""
        self._policy, self._action_size, self._pulse = policy, action_size, pulse

    def reset(self, slots: Slots, seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Reset the policy in `slots`."""
        self._call(slots, self._policy.reset, slots, seeds, instructions)

    def predict(self, observation: Observation, slots: Slots) -> NDArray[np.float32]:
        """Return the policy's chunks for `slots`, float32 (n, H, A)."""
        chunks = self._call(slots, self._policy.predict, observation, slots)
        problem = self._problem(chunks, len(slots))
        if problem:
            raise Fault("failure", POLICY_EXCEPTION) from TypeError(problem)
        return chunks

    def _call(self, slots: Slots, method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with self._pulse.waiting_for(POLICY, slots.tolist()):
                return method(*args, **kwargs)
        except KeyboardInterrupt:
            raise
        except PolicyUnavailable as error:
            raise Fault("error", POLICY_UNAVAILABLE) from error
        except BaseException as error:  # SystemExit, too: research code calls sys.exit
            raise Fault("failure", POLICY_EXCEPTION) from error

    def _problem(self, chunks: object, n: int) -> str:
        """Return what is wrong with the answer `chunks` for `n` slots; "" if it is valid."""
        expected = f"expected chunks as float32 array of shape ({n}, H, {self._action_size})"
        if not isinstance(chunks, np.ndarray):
            return f"{expected}, the policy gave {type(chunks).__name__}"
        fits = chunks.ndim == 3 and chunks.shape[0] == n and chunks.shape[1] > 0
        if fits and chunks.shape[2] == self._action_size and chunks.dtype == np.float32:
            return ""
        return f"{expected}, the policy gave {chunks.dtype} of shape {chunks.shape}"


class EnvironmentCalls:
    """Calls one environment and raises its faults as `Fault`."""

    def __init__(self, env: SlotEnv, pulse: Pulse) -> None:
        """Call `env`, and note the time of each call in `pulse`."""
        self._env, self._pulse = env, pulse

    def reset(self, slots: Slots, starts: Sequence[Start]) -> list[Begun]:
        """Begin episodes in `slots`."""
        return self._call(slots, self._env.reset, slots, starts)

    def observe(self, slots: Slots, with_images: NDArray[np.bool_]) -> Observation:
        """Return observations of `slots`."""
        return self._call(slots, self._env.observe, slots, with_images)

    def step(self, slots: Slots, actions: NDArray[np.float32]) -> tuple[Transition, list[bytes]]:
        """Advance `slots` by one control step; return the transition and the state of each slot after it."""
        transition = self._call(slots, self._env.step, slots, actions)
        if not np.isfinite(transition.reward).all():
            broken = slots[~np.isfinite(transition.reward)].tolist()
            raise Fault("error", ENVIRONMENT_EXCEPTION, broken) from ValueError(
                "the environment gave a reward that is not finite"
            )
        return transition, self._call(slots, self._env.state, slots)

    def _call(self, slots: Slots, method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        with attributed_to_environment(), self._pulse.waiting_for(ENVIRONMENT, slots.tolist()):
            return method(*args, **kwargs)
