"""One invocation of a run: it starts a run or resumes one, runs the missing episodes, and writes the record.

A run that is killed and resumed takes several invocations. Its result is the same as with a single invocation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.episodes.observer import Observer
from eval.episodes.plan import WHOLE, EpisodeSpec, PlanError
from eval.episodes.pulse import Pulse
from eval.episodes.results import EpisodeResult
from eval.execution.assembly import closing
from eval.execution.evaluation import EvaluationJob
from eval.execution.planning import RunPlan
from eval.execution.processes import run_in_workers
from eval.execution.repetition import Repetition, probe_repetition
from eval.execution.watchdog import Watchdog
from eval.observers.film.video import PICTURE_SIZE, check_drawing, film_cameras
from eval.observers.film.video_file import check_encoder, remove_partial_videos
from eval.observers.log import EpisodeLog
from eval.observers.stopping import Stopping
from eval.probing.instructions import choice_of_targets
from eval.probing.probe_axes import check_effects
from eval.runs.folder import check_repeats, check_same_run, earlier_record, earlier_results
from eval.runs.log_file import EPISODES_FILE, episodes_digest
from eval.runs.media_paths import MEDIA, VIDEOS_FOLDER, media_paths
from eval.runs.provenance import fingerprint, source_state
from eval.runs.receipts import collect_receipts, remove_receipts
from eval.runs.record import RunRecord, Summary, Timing
from eval.runs.run import EpisodeConditions
from eval.runs.schema.conditions import PolicyRecord, Resolved
from eval.runs.schema.stopping import Reference, SequentialRecord
from eval.runs.seed_overlap import seed_overlap
from eval.runs.summary import summarise, timed
from eval.runs.versions import RECORD_FILE
from policies.base import Policy
from policies.learned.devices import TILES
from simscaleai.errors import SimScaleError
from simscaleai.files import remove_partial_files

if TYPE_CHECKING:
    from envs.slots import SlotEnv

# With more slots, a step of one episode costs less outside physics. But with a slow policy, no episode would end for a
# long time, and a run that stops early would discard many unfinished episodes.
_SLOTS, _SLOTS_WITH_IMAGES, _SLOTS_WITH_RULE = 256, 64, 16

Cluster = Callable[[EvaluationJob, Sequence[EpisodeSpec], int, Sequence[Observer]], list[EpisodeResult]]
"""Runs a plan in workers on other machines; the arguments are those of `run_in_workers`."""


@dataclass(frozen=True)
class Outcome:
    """Result of one invocation."""

    record: RunRecord
    """The final record, as it is on disk."""
    results: tuple[EpisodeResult, ...]
    """Results of the episodes that count, of all invocations."""
    new_episodes: int
    """Number of episodes that this invocation ran."""
    seconds: float
    """Time that this invocation took [s]."""


@dataclass
class Invocation:
    """One invocation with policy and environment built."""

    job: EvaluationJob
    policy: Policy
    env: SlotEnv | None
    """The environment of this process; None if workers build their own."""
    plan: RunPlan
    workers: int
    machine: dict[str, Any]
    """Fingerprint of this machine. Results are bit-identical only on machines with an equal one."""
    repetition: Repetition
    """Whether the environment repeats itself."""
    cluster: Cluster | None = None
    """What runs the workers on other machines; None for processes of this machine."""
    folder: Path = Path()
    config: dict[str, Any] = field(default_factory=dict)
    earlier: list[EpisodeResult] = field(default_factory=list)
    """Results of earlier invocations that need not be run again."""
    is_resumed: bool = False
    stopping: Stopping | None = None

    def in_folder(self, folder: Path, config: dict[str, Any]) -> Invocation:
        """Return a copy for the run in `folder`, which must exist; the record will hold `config`, JSON data."""
        return replace(self, job=replace(self.job, folder=folder), folder=folder, config=config)

    def begin(self, *, accept_inexact: bool = False) -> None:
        """Start a run in the folder, or resume the run that is there, and write the record.

        Args:
            accept_inexact: Whether to resume a run although its environment does not repeat itself.

        Raises:
            ResultsError: If the run in the folder began under other conditions, or cannot be repeated exactly.
        """
        before = earlier_record(self.folder)
        self.record = self._new_record()
        if before is not None:
            check_same_run(self.folder, before, self.record)
            if not accept_inexact:
                check_repeats(self.folder, before, self.record)
            collect_receipts(self.folder)  # a record of version 1 holds receipts, and is replaced below
            self.record = replace(self.record, timing=_earlier_timing(self.folder, before))
            self.earlier, self.is_resumed = earlier_results(self.folder, self.plan.part), True
        self.stopping = Stopping(self.plan.rule, self.earlier) if self.plan.rule else None
        keeps = self.stopping.keeps if self.stopping else lambda result: True
        self._log = EpisodeLog(self.folder, self.earlier, keeps, self.plan.shard or WHOLE)
        self._began = time.monotonic()
        self.record.write(self.folder)

    def run_episodes(self, observers: Sequence[Observer]) -> None:
        """Run the missing episodes, in this process or in workers; end early if the stopping rule holds.

        Raises:
            SimScaleError: If the set-up is wrong. A new run without any episode leaves no files then.
        """
        try:
            self._run_missing(observers)
        except SimScaleError:
            if not (self.is_resumed or (self.folder / EPISODES_FILE).exists()):
                self._remove_files()
            raise

    def _run_missing(self, observers: Sequence[Observer]) -> None:
        done = {result.episode_index for result in self.earlier}
        left = [spec for spec in self.plan.part if spec.episode_index not in done]
        listeners = [self._log, *([self.stopping] if self.stopping else []), *observers]
        self._remove_partial_media()
        if self.env is not None:
            pulse = Pulse()
            with Watchdog(pulse, self.folder, self.job.timeout):
                self.job.run_here(self.env, self.policy, left, listeners, pulse)
            return
        try:
            self._run_elsewhere(left, listeners)
        finally:
            self._remove_partial_media()

    def _run_elsewhere(self, left: Sequence[EpisodeSpec], listeners: Sequence[Observer]) -> None:
        if self.cluster is None:
            run_in_workers(self.job, left, self.workers, listeners)
        else:
            job = replace(self.job, machine=self.job.conditions(self.machine))
            self.cluster(job, left, self.workers, listeners)

    def conclude(self) -> Outcome:
        """Write the final record and return it with the episodes that count."""
        seconds = time.monotonic() - self._began
        results = self._log.results
        done = {result.episode_index for result in self.earlier}
        new = sum(result.episode_index not in done for result in results)
        stopped = self.stopping is not None and self.stopping.has_seen_enough
        planned = len(results) if stopped else len(self.plan.part)
        self.record = replace(
            self.record,
            timing=timed(self.record.timing, results, seconds if new else 0.0),
            sequential=self._sequential(),
            summary=self._summary(results, planned),
        )
        self.record.write(self.folder)
        if stopped:
            self._remove_files_beyond(len(results))
        collect_receipts(self.folder, len(results) if stopped else None)
        return Outcome(self.record, tuple(results), new, seconds)

    def _summary(self, results: Sequence[EpisodeResult], planned: int) -> Summary:
        """Return the figures of the run; of a battery, those of its control, since the same starts run in every arm."""
        if self.plan.battery is not None:
            results = [result for result in results if result.arm is None]
            planned = sum(spec.arm is None for spec in self.plan.part)
        return summarise(results, planned, sequential=self.stopping is not None)

    def _remove_files(self) -> None:
        """Remove the files of this run, which has no episode, so that the corrected command can use the folder."""
        (self.folder / RECORD_FILE).unlink(missing_ok=True)
        remove_receipts(self.folder)
        for name in MEDIA:
            with suppress(OSError):  # there is none
                (self.folder / name).rmdir()

    def _remove_partial_media(self) -> None:
        """Remove the incomplete files that killed processes left."""
        remove_partial_videos(self.folder / VIDEOS_FOLDER)
        for name in MEDIA:
            remove_partial_files(self.folder / name)

    @property
    def has_targets(self) -> bool:
        """Whether the instruction was changed, and the task has several objects to choose from."""
        language = self.job.interventions.language
        return language is not None and bool(choice_of_targets(self.record.resolved.environment))

    # Records

    def _new_record(self) -> RunRecord:
        job, registration = self.job, self.job.registration
        checkpoint = getattr(self.policy, "checkpoint", None)  # only learned policies have one
        return RunRecord(
            config=self.config,
            resolved=Resolved(
                environment=registration.env_id,
                num_envs=job.num_envs,
                workers=self.workers,
                episodes=len(self.plan.specs),
                device=job.device,
                tile=None if job.device is None else TILES[job.device],
            ),
            environment=replace(registration.offer(), repeats=self.repetition.repeats),
            policies=(
                PolicyRecord(
                    model=job.model,
                    checkpoint=None if job.checkpoint is None else str(job.checkpoint),
                    identity=self.policy.identity,
                    options=dict(self.policy.options),
                    needs=self.policy.needs,
                ),
            ),
            source=source_state(),
            fingerprint=self.machine,
            timing=Timing(started=datetime.now(UTC).isoformat(timespec="seconds")),
            interventions=self.job.interventions.meanings(),
            perturbations=self.job.perturbations.meanings(),
            seed_overlap=seed_overlap(checkpoint.training if checkpoint else None, self.plan.specs),
            sequential=self._sequential(),
            battery=self.plan.battery,
            shard=self.plan.shard,
        )

    def _sequential(self) -> SequentialRecord | None:
        """Return the stopping rule and how far the run has come; None if no rule may end the run."""
        if self.plan.rule is None:
            return None
        n, limit = (self.stopping.n if self.stopping else 0), len(self.plan.specs)
        decided = bool(self.stopping and self.stopping.has_seen_enough)
        reference = self.plan.reference
        return SequentialRecord(
            rule=self.plan.rule.name,
            threshold=self.plan.rule.threshold,
            vs=None if reference is None else self._reference(reference.folder),
            limit=limit,
            episodes=n,
            decided=decided,
            saved=limit - n if decided else 0,
        )

    def _reference(self, folder: Path) -> Reference:
        return Reference(folder=str(folder), episodes_sha256=episodes_digest(self.job.home / folder))

    def _remove_files_beyond(self, n: int) -> None:
        """Remove the media of episodes after the first `n`. They had begun before the run was stopped."""
        for index in {*self.job.filmed[n:], *self.job.recorded[n:]}:
            for path in media_paths(self.folder, index):
                path.unlink(missing_ok=True)


@contextmanager
def prepare(
    job: EvaluationJob, policy: Policy, plan: RunPlan, workers: int, cluster: Cluster | None = None
) -> Iterator[Invocation]:
    """Yield an invocation with its environment built; with several workers or on Ray, each worker builds its own.

    With one worker, policy and environment are closed at the end of the block, with several before it.

    Args:
        job: What to run. `num_envs` is the number that the user chose, 0 for the default.
        policy: The policy, built.
        plan: The episodes.
        workers: Number of workers.
        cluster: What runs the workers on other machines; None for processes of this machine.

    Raises:
        SimScaleError: If policy, environment, interventions and plan do not fit each other, or images cannot be
            rendered.
    """
    registration = job.registration
    spec = registration.offer()
    job.interventions.check(policy.needs, spec.env_id)
    drawn = {*(film_cameras(spec) if job.filmed else ()), *(spec.film_cameras if job.recorded else ())}
    check_effects(job.perturbations.axes, [policy.needs], spec)
    plan = replace(plan, specs=job.perturbations.planned(job.interventions.planned(plan.specs, spec.env_id)))
    _check_reference(plan, EpisodeConditions.of(spec, terminates_on_success=job.terminate_on_success))
    usual = _usual_slots(plan, registration.usual_slots, with_images=bool(policy.needs.cameras))
    slots = min(job.num_envs or usual, ceil(len(plan.part) / workers))  # at most a worker's share of the episodes
    elsewhere = workers > 1 or cluster is not None
    outline = getattr(policy, "outline", None) if job.device and elsewhere else None
    job = replace(job, identity=policy.identity, num_envs=slots, outline=outline)
    # With workers, this environment only serves to check that it can be built, for its fingerprint, and for the probe.
    with closing(job.build_environment(policy, min(slots, 2) if elsewhere else slots), policy) as env:
        machine, repetition = fingerprint(env.fingerprint(), job.device), probe_repetition(env, plan.specs)
        if job.filmed:
            check_encoder()
        if drawn:
            check_drawing(env, plan.specs[0], sorted(drawn), (PICTURE_SIZE, PICTURE_SIZE))
        if not elsewhere:
            yield Invocation(job, policy, env, plan, workers, machine, repetition)
            return
    yield Invocation(job, policy, None, plan, workers, machine, repetition, cluster)


def _usual_slots(plan: RunPlan, most: int | None, *, with_images: bool) -> int:
    """Return the default number of slots of each worker, at most `most`."""
    usual = _SLOTS_WITH_RULE if plan.rule else _SLOTS_WITH_IMAGES if with_images else _SLOTS
    return usual if most is None else min(usual, most)


def _check_reference(plan: RunPlan, conditions: EpisodeConditions) -> None:
    """Check that this run will have the same conditions as the run that --vs names."""
    if plan.reference is None:
        return
    if differences := "; ".join(plan.reference.conditions.differences(conditions)):
        raise PlanError(f"not comparable with {plan.reference.folder} (A) of --vs: {differences}")


def _earlier_timing(folder: Path, before: RunRecord) -> Timing:
    """Return the timing of the earlier invocations of the run in `folder`, whose record is `before`.

    An invocation that was killed has written no time. It took as long as from its record to its last episode.
    """
    timing, episodes = before.timing, folder / EPISODES_FILE
    if before.summary is not None or not episodes.exists():
        return timing
    killed = max(0.0, episodes.stat().st_mtime - (folder / RECORD_FILE).stat().st_mtime)
    return replace(timing, seconds=(timing.seconds or 0.0) + killed)
