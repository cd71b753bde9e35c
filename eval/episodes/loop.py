"""The rollout loop: runs every episode of a plan exactly once, in as many slots as the environment has.

    results = rollout(env, policy, plan_episodes(50), observers=[EpisodeLog(path)])

An episode is a function of policy, environment and start alone, so the results do not depend on the number of slots. A
slot whose episode has ended begins the next episode of the plan. A fault counts against an episode only if it repeats
while that episode runs alone; all other episodes that were running start again.

The loop depends on two protocols, `SlotEnv` and `Policy`. Observers write all outputs.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from envs.slots import Begun, SlotEnv, Start, Transition
from eval.episodes.action_execution import LATENCY, LateExecutor, latency_steps, make_executor
from eval.episodes.faults import EnvironmentCalls, Fault, PolicyCalls, logged
from eval.episodes.history import History
from eval.episodes.observer import Observer, Step
from eval.episodes.plan import EpisodeSpec
from eval.episodes.probe import Probe
from eval.episodes.pulse import Pulse
from eval.episodes.results import PLACED_THEN_KNOCKED, EpisodeResult, Status
from eval.episodes.tally import Tally
from policies.base import Policy
from simscaleai.contract import Observation, union_of_needs
from simscaleai.errors import PolicyUnavailable, SimScaleError, SlotFault, UnknownNameError

logger = logging.getLogger(__name__)

PERTURBATION = "perturbation"
"""Name of the start option that maps the axes of an environment's scene to magnitudes."""

Slots = NDArray[np.intp]


def rollout(
    env: SlotEnv,
    policy: Policy,
    plan: Iterable[EpisodeSpec],
    observers: Sequence[Observer] = (),
    *,
    probes: Sequence[Probe] = (),
    terminate_on_success: bool = True,
    pulse: Pulse | None = None,
) -> list[EpisodeResult]:
    """Run each episode of `plan` once and return the results sorted by episode.

    The run ends early if `has_seen_enough` of an observer is true: running episodes are abandoned, and the remaining
    episodes do not start.

    Args:
        env: Environment, made with the union of the needs of `policy` and `observers`.
        policy: Policy to evaluate. It gets only the observations that it needs.
        plan: Episodes with distinct indices. The next one is taken from the iterable when a slot is free.
        observers: Get the events of the run, in this order.
        probes: Change the observations and actions between environment and policy, in this order.
        terminate_on_success: Whether `env` was made to end an episode at its first success.
        pulse: Notes each call of the policy and the environment, for a watchdog.

    Raises:
        SimScaleError: If the environment finds the set-up wrong.
    """
    return _Loop(env, policy, plan, observers, probes, terminate_on_success, pulse or Pulse()).run()


class _Loop:
    """The state of one rollout."""

    def __init__(
        self,
        env: SlotEnv,
        policy: Policy,
        plan: Iterable[EpisodeSpec],
        observers: Sequence[Observer],
        probes: Sequence[Probe],
        terminate_on_success: bool,
        pulse: Pulse,
    ) -> None:
        self._env, self._observers, self._probes = env, observers, probes
        self._terminate_on_success = terminate_on_success
        self._scene_axes = {axis.name for axis in env.spec.axes}
        self._axes = self._scene_axes | {LATENCY.name} | {axis.name for probe in probes for axis in probe.axes}
        self._needs, self._observed = policy.needs, union_of_needs(observer.needs for observer in observers)
        self._policy_calls = PolicyCalls(policy, env.spec.action.size, pulse)
        self._environment_calls = EnvironmentCalls(env, pulse)
        executor = make_executor(policy.options, env.num_slots, env.spec.action.size)
        self._executor = LateExecutor(executor, env.num_slots, env.spec.action)
        self._history = History(policy.needs.history) if policy.needs.history > 1 else None
        self._tally = Tally(env.num_slots)
        self._waiting = iter(plan)
        self._restarted: deque[EpisodeSpec] = deque()
        """Episodes to start again because of a fault in another slot."""
        self._suspects: deque[EpisodeSpec] = deque()
        """Episodes that may have caused a fault. They run one at a time; the first one runs now or next."""
        self._starting: dict[int, EpisodeSpec] = {}
        self._running: dict[int, EpisodeSpec] = {}
        self._begun: dict[int, Begun] = {}
        self._unseen: set[int] = set()
        """Slots in which the policy has not been asked yet in the running episode."""
        self._results: list[EpisodeResult] = []

    def run(self) -> list[EpisodeResult]:
        try:
            return self._run()
        finally:
            with logged("abandoning the running episodes"):
                self._abandon_running()
            for close in [each.close for each in self._observers] + [each.close for each in self._probes]:
                with logged("closing an observer or a probe"):
                    close()

    def _run(self) -> list[EpisodeResult]:
        for observer in self._observers:
            observer.on_run_start(self._env)
        while not any(observer.has_seen_enough for observer in self._observers):
            try:
                if not self._start_next():
                    break
                self._advance()
            except Fault as fault:
                self._isolate(fault)
        self._abandon_running()
        results = sorted(self._results, key=lambda result: result.episode_index)
        for observer in self._observers:
            observer.on_run_end(results)
        return results

    # Beginning

    def _start_next(self) -> bool:
        """Fill the free slots from the plan; return whether any episode is running."""
        self._starting = self._next_specs()
        if self._starting:
            self._begin(np.array(list(self._starting), dtype=np.intp), list(self._starting.values()))
            started, self._starting = self._starting, {}
            self._running.update(started)
            for slot, spec in started.items():
                for observer in self._observers:
                    observer.on_episode_start(slot, spec, self._begun[slot])
        return bool(self._running)

    def _next_specs(self) -> dict[int, EpisodeSpec]:
        if self._suspects:
            return {} if self._running else {0: self._suspects[0]}
        specs: dict[int, EpisodeSpec] = {}
        for slot in range(self._env.num_slots):
            if slot not in self._running:
                spec = self._restarted.popleft() if self._restarted else next(self._waiting, None)
                if spec is None:
                    break
                specs[slot] = spec
        return specs

    def _begin(self, slots: Slots, specs: Sequence[EpisodeSpec]) -> None:
        self._tally.begin(slots)
        self._executor.begin(slots, [latency_steps(spec.perturbation, self._env.spec.control_hz) for spec in specs])
        if self._history:
            self._history.begin(slots)
        for slot in slots.tolist():
            self._begun[slot] = Begun()
        begun = self._environment_calls.reset(slots, [self._start(spec) for spec in specs])
        self._check_instructions(specs, begun)
        begun = [self._instructed(each, spec) for each, spec in zip(begun, specs, strict=True)]
        self._begun.update(zip(slots.tolist(), begun, strict=True))
        self._unseen.update(slots.tolist())
        for probe in self._probes:
            probe.begin(slots, specs)
        self._policy_calls.reset(slots, [spec.seed for spec in specs], [each.instruction for each in begun])

    def _start(self, spec: EpisodeSpec) -> Start:
        """Return the start of an episode, with the part of its perturbation that concerns the scene.

        Raises:
            SimScaleError: If neither the environment nor a probe has an axis of the perturbation.
        """
        if not spec.perturbation:
            return Start(spec.seed, spec.start_options)
        for name in spec.perturbation:
            if name not in self._axes:
                raise UnknownNameError("axis", name, sorted(self._axes))
        of_scene = {name: spec.perturbation[name] for name in spec.perturbation if name in self._scene_axes}
        options = spec.start_options
        return Start(spec.seed, {**options, PERTURBATION: of_scene} if of_scene else options)

    def _instructed(self, begun: Begun, spec: EpisodeSpec) -> Begun:
        """Return `begun` with the instruction that the policy gets, after all probes."""
        for probe in self._probes:
            begun = replace(begun, instruction=probe.instruct(begun.instruction, spec))
        return begun

    def _check_instructions(self, specs: Sequence[EpisodeSpec], begun: Sequence[Begun]) -> None:
        """Raise if an episode has no instruction and the policy reads one, unless the plan sets the instruction."""
        for spec, each in zip(specs, begun, strict=True):
            if self._needs.instruction and not each.instruction.strip() and "instruction" not in spec.options:
                raise SimScaleError(
                    f"the policy follows instructions, but the episode of seed {spec.seed} has none; "
                    "evaluate it in an environment that gives instructions"
                )

    # One control step

    def _advance(self) -> None:
        """Take one control step in every running slot and end the episodes that are over."""
        slots = np.array(sorted(self._running), dtype=np.intp)
        looking = self._executor.needs_look(slots)
        observed, given = self._observe(slots, looking)
        chunks = self._look(slots[looking], given) if looking.any() else {}
        intended = self._executor.next_actions(slots)
        actions = intended
        for probe in self._probes:
            actions = probe.act(actions, slots)
        transition, states = self._environment_calls.step(slots, actions)
        self._tally.add(slots, transition, states)
        self._tell(slots, observed, chunks, intended, transition)
        for row in np.flatnonzero(transition.terminated | transition.truncated).tolist():
            slot = int(slots[row])
            self._end(slot, *self._outcome(slot, transition.failure[row], timed_out=bool(transition.truncated[row])))

    def _observe(self, slots: Slots, looking: NDArray[np.bool_]) -> tuple[Observation, Observation]:
        """Return the observations for observers, of all `slots`, and for the policy, of the slots that are `looking`.

        If no observer needs observations, only the slots that are looking are observed. The policy gets copies, which
        it may change.
        """
        if not (self._observed.keys or self._history):
            return {}, self._observe_asked(slots[looking])
        every_image = bool(self._observed.cameras or self._history)
        everything = self._environment_calls.observe(slots, looking | every_image)
        given = {key: everything[key] for key in self._needs.keys}
        observed = {key: everything[key] for key in self._observed.keys}
        if self._history:
            self._history.add(slots, given)
            return observed, self._history.windows(slots[looking])
        return observed, {key: rows[looking] for key, rows in given.items()}

    def _observe_asked(self, asked: Slots) -> Observation:
        if not (asked.size and self._needs.keys):
            return {}
        seen = self._environment_calls.observe(asked, np.ones(asked.size, dtype=bool))
        return {key: seen[key] for key in self._needs.keys}

    def _look(self, asked: Slots, given: Observation) -> dict[int, NDArray[np.float32]]:
        """Ask the policy for new chunks in the slots `asked`; return the chunks by slot."""
        self._check_images(asked, given)
        for probe in self._probes:
            given = probe.observe(given, asked)
        for observer in self._observers:
            observer.on_look(asked, given)
        chunks = self._policy_calls.predict(given, asked)
        self._executor.add(asked, chunks)
        return dict(zip(asked.tolist(), chunks, strict=True))

    def _check_images(self, slots: Slots, observation: Observation) -> None:
        """Raise if an image at the first look of an episode has a single colour, which means that rendering failed."""
        for row, slot in enumerate(slots.tolist()):
            if slot not in self._unseen:
                continue
            self._unseen.discard(slot)
            for camera in self._needs.cameras:
                image = observation[camera][row]  # with a history, all of its images
                if image.min() == image.max():
                    raise SimScaleError(
                        f"the image of camera {camera!r} is constant ({image.min()}), the policy would act blindly; "
                        "check the rendering, or leave this camera out of the needs of the policy"
                    )

    def _tell(
        self,
        slots: Slots,
        observed: Observation,
        chunks: dict[int, NDArray[np.float32]],
        intended: NDArray[np.float32],
        transition: Transition,
    ) -> None:
        step = Step(
            slots=slots,
            observation=observed,
            chunks=chunks,
            intended=intended,
            executed=transition.executed,
            reward=transition.reward,
            success=transition.success,
            stage=transition.stage,
        )
        for observer in self._observers:
            observer.on_step(step)

    # Ending

    def _outcome(self, slot: int, failure: str, *, timed_out: bool) -> tuple[Status, str | None]:
        if self._tally.success[slot] and not failure:
            return "success", None
        if timed_out and self._tally.success_once[slot]:
            return "failure", PLACED_THEN_KNOCKED
        return "failure", failure

    def _isolate(self, fault: Fault) -> None:
        """Plan the running episodes again, the suspects one at a time; end an episode that ran alone.

        A fault may leave some slots in the middle of a step. Only a new start gives the result that their episodes
        would have had without the fault.
        """
        involved = self._running | self._starting
        if self._suspects:
            spec = self._suspects[0]
            text = f"episode {spec.episode_index} (seed {spec.seed}): {fault.failure}"
            cause = fault.__cause__
            if isinstance(cause, PolicyUnavailable):  # the reason says it all
                logger.error("%s: %s", text, cause)
            elif isinstance(cause, SlotFault) and cause.__cause__ is None:
                logger.error("%s: %s", text, cause.reason)
            else:
                logger.error("%s", text, exc_info=cause)
            ((slot, _),) = involved.items()
            self._running, self._starting = involved, {}
            self._end(slot, fault.status, fault.failure)
            return
        ordered = sorted(involved.items(), key=lambda item: item[1].episode_index)
        for slot, spec in ordered:
            suspected = fault.slots is None or slot in fault.slots
            (self._suspects if suspected else self._restarted).append(spec)
        self._abandon_running()

    def _end(self, slot: int, status: Status, failure: str | None) -> None:
        spec = self._running.pop(slot)
        if self._suspects:
            self._suspects.popleft()
        result = self._result(slot, spec, status, failure)
        self._results.append(result)
        for observer in self._observers:
            observer.on_episode_end(slot, result)

    def _result(self, slot: int, spec: EpisodeSpec, status: Status, failure: str | None) -> EpisodeResult:
        tally, begun, runs_on = self._tally, self._begun[slot], not self._terminate_on_success
        return EpisodeResult(
            episode_index=spec.episode_index,
            seed=spec.seed,
            instruction=begun.instruction,
            target=begun.facts.get("target"),
            status=status,
            success_once=bool(tally.success_once[slot]),
            success_held=bool(tally.success_held[slot]) if runs_on else None,
            success_at_end=bool(tally.success[slot]) if runs_on else None,
            steps=int(tally.steps[slot]),
            return_=float(tally.returns[slot]),
            stage=tally.stage(slot) or begun.stage,
            failure=failure,
            digest=tally.digest(slot),
            task=spec.task,
            arm=spec.arm,
            perturbation=spec.perturbation,
        )

    def _abandon_running(self) -> None:
        for slot, spec in self._running.items():
            for observer in self._observers:
                observer.on_episode_abandoned(slot, spec)
        self._running, self._starting = {}, {}
