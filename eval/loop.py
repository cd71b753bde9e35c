"""The rollout loop: runs every episode of a plan exactly once, in as many slots as the environment has.

    results = rollout(env, policy, plan_episodes(50), observers=[EpisodeLog(path)])

Autoreset is off; a slot whose episode ended is reset with the next episode of the plan, or idles and is not
simulated. An episode is a function of policy, environment and seed alone, so the results do not depend on the number
of slots. An exception is laid at an episode's door only if it comes again while that episode runs with no other
beside it; all others that were running are run anew, from the start, as if nothing had been.

Knows neither models nor cameras nor files: policies come as `policies.base.Policy`, outputs are observers.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

import envs.interface
import simscaleai.errors
from envs.interface import ACTION_DIM, ObservationArrays
from eval.observers.base import Observer, Step
from eval.plan import EpisodeSpec
from eval.results import ENVIRONMENT_EXCEPTION, PLACED_THEN_KNOCKED, POLICY_EXCEPTION, EpisodeResult, Status
from eval.tally import Tally
from policies.base import Policy

if TYPE_CHECKING:
    from envs.vector_env import TaskVectorEnv

logger = logging.getLogger(__name__)

USER_MISTAKES = (simscaleai.errors.SimScaleError, envs.interface.SimScaleError)
"""Exceptions that end a run: the set-up is wrong, so no episode of it would mean anything."""

P = ParamSpec("P")
R = TypeVar("R")


def rollout(
    env: TaskVectorEnv, policy: Policy, plan: Iterable[EpisodeSpec], observers: Sequence[Observer] = ()
) -> list[EpisodeResult]:
    """Run each episode of `plan` once and return the results sorted by episode.

    If an observer has seen enough, the run ends then: what is running is abandoned, the rest of the plan not begun.

    Args:
        env: Environment with autoreset disabled, built for `policy.contract`.
        policy: What is evaluated. It gets the observations that its contract names and no other.
        plan: Episodes with distinct indices; each is taken when a slot is free for it.
        observers: Told in this order.

    Raises:
        SimScaleError: If environment or policy finds the set-up wrong, or actions have the wrong shape.
    """
    return _Loop(env, policy, plan, observers).run()


class _PolicyFault(Exception):
    """Carries what a policy raised, as its cause."""


class _Loop:
    """The state of one rollout; arrays have one row per slot."""

    def __init__(
        self, env: TaskVectorEnv, policy: Policy, plan: Iterable[EpisodeSpec], observers: Sequence[Observer]
    ) -> None:
        self._env, self._policy, self._observers = env, policy, observers
        contract = policy.contract
        self._policy_keys = (*contract.vectors, "image") if contract.cameras else tuple(contract.vectors)
        self._has_images = bool(env.contract.cameras)
        self._waiting = iter(plan)
        # Episodes that were running when something was raised; they run one at a time, the first being the current.
        self._suspects: deque[EpisodeSpec] = deque()
        self._specs: dict[int, EpisodeSpec] = {}
        self._tally = Tally(env.num_envs)
        self._results: list[EpisodeResult] = []
        self._observation: ObservationArrays = {}
        self._info: dict[str, NDArray[np.generic]] = {}

    def run(self) -> list[EpisodeResult]:
        try:
            return self._run()
        finally:
            self._abandon_all()
            for observer in self._observers:
                observer.close()

    def _run(self) -> list[EpisodeResult]:
        for observer in self._observers:
            observer.on_run_start(self._env)
        while not any(observer.has_seen_enough for observer in self._observers) and self._start_next():
            self._advance()
        self._abandon_all()
        results = sorted(self._results, key=lambda result: result.episode_index)
        for observer in self._observers:
            observer.on_run_end(results)
        return results

    def _start_next(self) -> bool:
        """Fill the free slots from the plan; return whether any episode is running."""
        starting = self._next_specs()
        if starting:
            self._reset(starting)
            self._specs.update(starting)
            for slot, spec in starting.items():
                for observer in self._observers:
                    observer.on_episode_start(slot, spec)
        return bool(self._specs)

    def _next_specs(self) -> dict[int, EpisodeSpec]:
        if self._suspects:
            return {} if self._specs else {0: self._suspects[0]}
        free = [slot for slot in range(self._env.num_envs) if slot not in self._specs]
        return dict(zip(free, self._waiting, strict=False))

    def _reset(self, starting: dict[int, EpisodeSpec]) -> None:
        slots = range(self._env.num_envs)
        specs = [starting.get(slot) for slot in slots]
        mask = np.array([spec is not None for spec in specs])
        options = {
            # The environment's first reset must cover every slot, also those that will idle.
            "reset_mask": mask if self._observation else np.ones_like(mask),
            "target": [spec and spec.target for spec in specs],
            "instruction": [spec and spec.instruction for spec in specs],
        }
        seeds = [None if spec is None else spec.seed for spec in specs]
        self._observation, self._info = self._env.reset(seed=seeds, options=options)
        env_ids = np.flatnonzero(mask)
        instructions = [str(text) for text in self._info["instruction"][env_ids]]
        self._policy.reset(env_ids, [spec.seed for spec in starting.values()], instructions)
        self._tally.reset(env_ids)

    def _advance(self) -> None:
        """Take one control step in every running slot and end the episodes that are over."""
        env_ids = np.array(sorted(self._specs), dtype=np.intp)
        try:
            looking = env_ids[_ask(self._policy.needs_observation, env_ids)]
            before = self._observe(env_ids, looking)
            actions = self._act(before, env_ids)
            rewards, terminated, truncated = self._step(actions, env_ids)
        except USER_MISTAKES:
            raise
        except _PolicyFault as fault:
            self._isolate(fault.__cause__, "failure", POLICY_EXCEPTION)
            return
        except Exception as exception:
            self._isolate(exception, "error", ENVIRONMENT_EXCEPTION)
            return
        self._count(env_ids, rewards, before, looking)
        for slot in env_ids[(terminated | truncated)[env_ids]].tolist():
            self._end(slot, *self._outcome(slot, timed_out=bool(truncated[slot])))

    def _observe(self, env_ids: NDArray[np.intp], looking: NDArray[np.intp]) -> ObservationArrays:
        """Return what is known of all slots, with the images of those where the policy or an observer looks."""
        if not self._has_images:
            return self._observation
        seen = env_ids if any(observer.needs_images for observer in self._observers) else looking
        return self._observation | {"image": self._env.render_images(self._mask(seen))}

    def _act(self, observation: ObservationArrays, env_ids: NDArray[np.intp]) -> NDArray[np.float32]:
        rows = {key: observation[key][env_ids] for key in self._policy_keys}
        return _checked(_ask(self._policy.act, rows, env_ids), env_ids)

    def _step(
        self, actions: NDArray[np.float32], env_ids: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Simulate the slots `env_ids`; return reward, terminated and truncated of all slots."""
        everywhere = np.zeros((self._env.num_envs, ACTION_DIM), dtype=np.float32)
        everywhere[env_ids] = actions
        active = self._mask(env_ids)
        self._observation, rewards, terminated, truncated, self._info = self._env.step(everywhere, active=active)
        return rewards, terminated, truncated

    def _mask(self, env_ids: NDArray[np.intp]) -> NDArray[np.bool_]:
        mask = np.zeros(self._env.num_envs, dtype=bool)
        mask[env_ids] = True
        return mask

    def _count(
        self,
        env_ids: NDArray[np.intp],
        rewards: NDArray[np.float64],
        before: ObservationArrays,
        looking: NDArray[np.intp],
    ) -> None:
        executed = self._env.executed_actions.copy()
        self._tally.add(env_ids, rewards, self._info["success"].astype(bool))
        self._tally.hash(env_ids, executed, self._env.qpos, self._env.qvel)
        step = Step(env_ids, self._mask(looking), before, executed, self._info)
        for observer in self._observers:
            observer.on_step(step)

    def _outcome(self, slot: int, *, timed_out: bool) -> tuple[Status, str | None]:
        failure = str(self._info["failure"][slot])
        if self._tally.success[slot] and not failure:
            return "success", None
        if timed_out and self._tally.success_once[slot]:
            return "failure", PLACED_THEN_KNOCKED
        return "failure", failure

    def _isolate(self, exception: BaseException | None, status: Status, failure: str) -> None:
        """Run what was running anew, one episode at a time; end an episode that already ran that way.

        The memory of the others may be half a step ahead when one raises, so only a fresh start makes them what
        they would have been without it.
        """
        if not self._suspects:
            self._suspects.extend(sorted(self._specs.values(), key=lambda spec: spec.episode_index))
            self._abandon_all()
            return
        spec = self._suspects[0]
        logger.error("episode %d (seed %d): %s", spec.episode_index, spec.seed, failure, exc_info=exception)
        ((slot, _),) = self._specs.items()
        self._end(slot, status, failure)

    def _end(self, slot: int, status: Status, failure: str | None) -> None:
        spec = self._specs.pop(slot)
        if self._suspects:
            self._suspects.popleft()
        result = self._result(slot, spec, status, failure)
        self._results.append(result)
        for observer in self._observers:
            observer.on_episode_end(slot, result)

    def _result(self, slot: int, spec: EpisodeSpec, status: Status, failure: str | None) -> EpisodeResult:
        tally, info = self._tally, self._info
        runs_on = not self._env.terminate_on_success
        target = info["target"][slot]
        return EpisodeResult(
            episode_index=spec.episode_index,
            seed=spec.seed,
            instruction=str(info["instruction"][slot]),
            target=None if target is None else str(target),
            status=status,
            success_once=bool(tally.success_once[slot]),
            success_held=bool(tally.success_held[slot]) if runs_on else None,
            success_at_end=bool(tally.success[slot]) if runs_on else None,
            steps=int(tally.steps[slot]),
            return_=float(tally.returns[slot]),
            stage=str(info["stage"][slot]),
            failure=failure,
            digest=tally.digest(slot),
        )

    def _abandon_all(self) -> None:
        for slot, spec in self._specs.items():
            for observer in self._observers:
                observer.on_episode_abandoned(slot, spec)
        self._specs.clear()


def _ask(method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a method of the policy; what it raises comes as the cause of a `_PolicyFault`."""
    try:
        return method(*args, **kwargs)
    except USER_MISTAKES:
        raise
    except Exception as exception:
        raise _PolicyFault from exception


def _checked(actions: NDArray[np.float32], env_ids: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return `actions` unless shape or type is wrong: broadcasting would hide that."""
    expected = (env_ids.size, ACTION_DIM)
    actual = np.shape(actions)
    dtype = np.asarray(actions).dtype
    if actual != expected or dtype != np.float32:
        raise simscaleai.errors.SimScaleError(
            f"expected actions of shape {expected} float32, one row per running slot; the policy gave {actual} {dtype}"
        )
    return actions
