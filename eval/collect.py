"""Collects demonstrations for `simscaleai.train`, on seeds that no evaluation uses.

python -m eval.collect --env pick-place --episodes 500 --output data/pick_place
python -m eval.collect --verify data/pick_place
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from envs.choices import EnvironmentFlags
from envs.registration import Registration, find_environment
from envs.slots import SlotEnv
from eval.demonstrations.phrasings import Phrasings, with_phrasings
from eval.demonstrations.verification import verify_dataset
from eval.episodes.observer import Observer
from eval.episodes.plan import (
    DEMONSTRATION_SEEDS,
    TEST_SEEDS,
    VALIDATION_SEEDS,
    WHOLE,
    EpisodeSpec,
    PlanError,
    over_tasks,
    plan_episodes,
)
from eval.episodes.pulse import Pulse
from eval.episodes.results import EpisodeResult
from eval.execution.assembly import closing
from eval.execution.cluster.pool import check_executor, run_on_ray
from eval.execution.collection import CollectJob, Demonstrators, recorded_needs
from eval.execution.planning import RunPlan, divided
from eval.execution.processes import run_in_workers
from eval.execution.repetition import probe_repetition
from eval.execution.watchdog import Watchdog
from eval.execution.worker import TIMEOUT_SECONDS, Executor, check_shape
from eval.merging.datasets import CollectedShard
from eval.observers.dataset import DatasetIndex, finished_results, is_worth_keeping
from eval.observers.progress import Progress
from eval.probing.perturbations import Perturbations
from eval.probing.probe_axes import check_effects, read_perturbations
from eval.runs.provenance import fingerprint
from eval.runs.record import Summary
from eval.runs.summary import summarise
from eval.terminal.command import COMPLETE, EPISODE_ERRORS, run_command, shape_text
from eval.terminal.console import Console, rows_text
from eval.terminal.figures import summary_rows
from eval.terminal.flags import command_line
from policies.learned.devices import Device
from simscaleai.command_line import raise_at_interrupt
from simscaleai.data import DatasetError, DatasetWriter
from simscaleai.data.description import DESCRIPTION_FILE
from simscaleai.files import check_new_folder, locked, output_folder, remove_partial_files

PROGRAM = "python -m eval.collect"


@dataclass(frozen=True, kw_only=True)
class CollectConfig(EnvironmentFlags):
    """Collect demonstrations of a task into a dataset for `simscaleai.train`, or check a dataset."""

    output: Path | None = None
    """Folder for the dataset, new or empty."""
    verify: Path | None = None
    """Collect nothing. Replay every episode of the dataset in this folder and compare it, bit for bit, with what is
    stored. The exit code is 1 if an episode differs."""
    episodes: int = 500
    """Number of episodes to run. Failed episodes are not kept."""
    model: str = "scripted"
    """Policy that acts; any --model of eval.rollout."""
    checkpoint: Path | None = None
    """Folder with the weights of --model."""
    seed: int = DEMONSTRATION_SEEDS.start
    """Base seed: episode i runs with seed + i. Seeds for tests (below 1,000,000) and for validation (2,000,000,000 to
    2,999,999,999) are refused."""
    shard: str | None = None
    """Run only one part of the episodes, for example 3/16: every 16th from the third. `eval.merge` joins all parts. For
    several machines without a connection."""
    num_envs: int = 16
    """Episodes simulated side by side in each process. Changes the speed, never the data."""
    workers: int = 1
    """Number of processes. Changes the speed, never the data."""
    executor: Executor = "process"
    """Where workers run: process, on this machine, or ray, on a cluster, as in eval.rollout."""
    device: Device | None = None
    """Where --model computes if it is learned, as in eval.rollout."""
    timeout: float = TIMEOUT_SECONDS
    """Seconds that the policy or the environment may take for one answer. After that, a worker is killed and its
    episodes run again; without workers the collection ends."""
    resume: bool = False
    """Continue the dataset in the output folder, or start it if there is none. The files become the same as without an
    interruption."""
    cameras: tuple[str, ...] | None = None
    """Cameras to store; by default all cameras of the environment. The flag without a name stores no images."""
    image_size: int = 64
    """Height and width of the stored images [px]."""
    phrasings: Phrasings = "task"
    """Wordings of the instructions: those of the task, or "grammar" for many thousands, drawn from the seed, so that a
    policy learns to understand wordings that it was not trained on. For pick-place and pick-place-language."""
    delay: int = 0
    """Latency of the acting policy in control steps, as in eval.rollout."""
    action_noise: float = 0.0
    """Standard deviation of the noise that is added to the executed action, except to the gripper, in units of the
    action. The stored label stays the action before noise, so that a learner sees how to recover."""
    expert: str | None = None
    """Policy that labels; any --model of eval.rollout, usually scripted. The label of a step is then the action of the
    expert in the state that --model reached (DAgger), and all episodes are kept. By default --model labels its own
    actions."""
    perturb: tuple[str, ...] = ()
    """Perturb the episodes, as in eval.rollout: light=3, camera.azimuth=15deg. A range of levels draws the magnitude of
    each axis anew for every episode, from its seed: light=0..3. The dataset stores the instruction that --model
    gets, but observations and labels without the changes of probes, such as image.blur and action.noise."""
    keep_failures: bool = False
    """Also keep episodes without success."""
    quiet: bool = False
    """Print only warnings and errors, no progress."""
    json: bool = False
    """Print the result as one JSON object instead of text; progress goes to standard error."""

    def plan(self) -> tuple[EpisodeSpec, ...]:
        """Return the planned episodes.

        Raises:
            PlanError: If a seed is for tests or validation, or a number is out of range.
        """
        plan = plan_episodes(self.episodes, self.seed)
        first, last = plan[0].seed, plan[-1].seed
        for reserved in (TEST_SEEDS, VALIDATION_SEEDS):
            if first < reserved.stop and last >= reserved.start:
                raise PlanError(
                    f"expected seeds for demonstrations, got {first} to {last}: {reserved.start} to "
                    f"{reserved.stop - 1} are reserved for evaluation; leave out --seed to start at "
                    f"{DEMONSTRATION_SEEDS.start}"
                )
        if not 0 <= self.action_noise < inf:
            raise PlanError(f"expected a finite --action-noise of at least 0, got {self.action_noise}")
        check_shape(self.workers, self.num_envs, self.timeout)
        check_executor(self.executor)
        return plan


@dataclass(frozen=True)
class Collected:
    """Result of a collection."""

    summary: Summary
    """Figures of all episodes of the plan, whether kept or not."""
    kept: int
    """Number of episodes in the dataset."""


def collect(config: CollectConfig) -> Collected:
    """Run episodes, write those that are kept into a dataset, print progress and result, and return the result.

    Raises:
        SimScaleError: If the configuration is wrong, or does not fit the dataset to resume.
    """
    specs, folder = config.plan(), config.output
    registration = find_environment(config.environment)
    perturbations = read_perturbations(config.perturb, config.delay, registration.offer(), allow_ranges=True)
    specs = perturbations.planned(over_tasks(specs, registration.tasks))
    if folder is None:
        raise PlanError("expected --output with the folder to write to, or --verify with a dataset to check")
    if config.resume and folder.is_dir():
        with locked(folder):
            remove_partial_files(folder)
    _check_output(folder, resume=config.resume)  # before time is spent on loading
    specs = with_phrasings(specs, registration.env_id, config.phrasings)
    plan = divided(RunPlan(tuple(specs)), config.shard)
    job = _job(config, registration, folder.absolute(), len(plan.part))
    with Console(config.quiet, config.json) as console, chdir("."):  # which at the end is the user's folder again
        demonstrators = job.build_demonstrators()
        _check_effects(perturbations, job, demonstrators)
        elsewhere = config.workers > 1 or config.executor == "ray"
        outline = getattr(demonstrators.policy, "outline", None) if job.device and elsewhere else None
        job = replace(job, identities=demonstrators.identities, outline=outline)
        # With workers, this environment only serves to check that it can be built, and to read its fingerprint.
        slots = 1 if elsewhere else job.num_envs
        with closing(job.build_environment(demonstrators, slots), *demonstrators.policies) as env:
            for warning in probe_repetition(env, plan.specs).warnings():
                console.warn(warning)
            machine = fingerprint(env.fingerprint(), job.device)
            provenance = _provenance(config, demonstrators, machine, plan)
            if not elsewhere:
                return _collect(config, job, demonstrators, env, plan, provenance, console)
        if config.executor == "ray":
            job = replace(job, machine=job.conditions(machine))
        return _collect(config, job, demonstrators, None, plan, provenance, console)


def _check_output(folder: Path, *, resume: bool) -> None:
    """Check that `folder` can become a new dataset, or holds a dataset to resume."""
    if not (resume and (folder / DESCRIPTION_FILE).exists()):
        check_new_folder(folder)


def _collect(
    config: CollectConfig,
    job: CollectJob,
    demonstrators: Demonstrators,
    env: SlotEnv | None,
    plan: RunPlan,
    provenance: dict[str, Any],
    console: Console,
) -> Collected:
    """Create or open the dataset and collect, with policies and environment built."""
    raise_at_interrupt()
    with output_folder(job.folder):
        _check_output(job.folder, resume=config.resume)  # again: another process may have begun there in the meantime
        with DatasetWriter(job.folder, job.recorded, provenance=provenance, resume=config.resume) as writer:
            return _Collection(config, job, demonstrators, env, writer, plan, console).execute()


def _job(config: CollectConfig, registration: Registration, folder: Path, episodes: int) -> CollectJob:
    return CollectJob(
        num_envs=min(config.num_envs, episodes),
        terminate_on_success=True,
        timeout=config.timeout,
        device=config.device,
        folder=folder,
        env_id=registration.env_id,
        model=config.model,
        checkpoint=config.checkpoint,
        expert=config.expert,
        action_noise=config.action_noise,
        recorded=recorded_needs(registration.offer(), config.cameras, config.image_size),
        keep_failures=config.keep_failures or config.expert is not None,
    )


def _check_effects(perturbations: Perturbations, job: CollectJob, demonstrators: Demonstrators) -> None:
    """Check that every perturbation changes something: what is recorded, or else what the acting policy does.

    Raises:
        PerturbationError: If one changes nothing.
    """
    spec, acting = find_environment(job.env_id).offer(), demonstrators.policy.needs
    for axis in perturbations.axes:
        is_recorded = axis.changes in ("looks", "words")
        check_effects([axis], [acting, job.recorded] if is_recorded else [acting], spec)


def _provenance(
    config: CollectConfig, demonstrators: Demonstrators, machine: dict[str, Any], plan: RunPlan
) -> dict[str, Any]:
    """Return how the demonstrations are made, as the dataset records it."""
    return {
        "policy": config.model,
        "expert": config.expert,
        "identities": demonstrators.identities,
        "action_noise": config.action_noise,
        "seed": config.seed,
        "keep_failures": config.keep_failures,
        "fingerprint": machine,
        **({"perturb": config.perturb} if config.perturb else {}),
        **({} if config.phrasings == "task" else {"phrasings": config.phrasings}),
        **({"delay": config.delay} if config.delay else {}),
        **CollectedShard.entry(plan.shard, len(plan.specs)),
    }


@dataclass(frozen=True)
class _Collection:
    """One collection, with policies and environment built and the dataset open."""

    config: CollectConfig
    job: CollectJob
    demonstrators: Demonstrators
    env: SlotEnv | None
    """The environment of this process; None if workers build their own."""
    writer: DatasetWriter
    plan: RunPlan
    console: Console

    @property
    def _shown(self) -> Path:
        """Folder of the dataset as the user wrote it."""
        return self.config.output or self.writer.folder

    def execute(self) -> Collected:
        earlier = finished_results(self.writer.folder)
        missing = self._missing()
        self.console.say(
            f"{self.config.model} in {self.job.env_id}: {self.plan.text}",
            f"{shape_text(self.job.num_envs, self.config.workers)}; dataset in {self._shown}",
        )
        try:
            results = [*earlier, *(self._run(missing, earlier) if missing else [])]
        except KeyboardInterrupt:
            again = command_line(PROGRAM, replace(self.config, resume=True))
            self.console.say(rows_text([("dataset", f"{self._kept_text()} so far"), ("continue with", again)]))
            raise
        return self._conclude(results)

    def _missing(self) -> list[EpisodeSpec]:
        """Return the episodes that have not been run.

        Raises:
            DatasetError: If the dataset has an episode that is not planned.
        """
        planned, finished = {spec.episode_index for spec in self.plan.part}, self.writer.finished
        if not finished <= planned:
            raise DatasetError(
                f"{self._shown} has episode {max(finished)}; resume it with --episodes of at least {max(finished) + 1}"
            )
        missing = [spec for spec in self.plan.part if spec.episode_index not in finished]
        if self.config.resume:
            self.console.say(f"{self._shown}: {len(missing)} of {len(planned)} episodes are missing")
        return missing

    def _run(self, missing: Sequence[EpisodeSpec], earlier: Sequence[EpisodeResult]) -> list[EpisodeResult]:
        """Run the `missing` episodes, in this process or in workers, and return their results."""
        shown = []
        if not self.config.quiet:
            shown = [Progress(len(self.plan.part), earlier=earlier, shard=self.plan.shard or WHOLE)]
        if self.env is None:
            run = run_on_ray if self.config.executor == "ray" else run_in_workers
            return run(self.job, missing, self.config.workers, [self._index({}), *shown])
        pulse = Pulse()
        recorder = self.job.recorder(self.demonstrators, self.env.spec.action.size, pulse)
        observers: list[Observer] = [recorder, self._index(recorder.sha256), *shown]
        with Watchdog(pulse, self.writer.folder, self.config.timeout):
            return self.job.record(self.demonstrators, self.env, missing, observers, pulse)

    def _index(self, sha256: dict[int, str]) -> DatasetIndex:
        return DatasetIndex(
            self.writer,
            self.job.env_id,
            relabelled=self.config.expert is not None,
            keep_failures=self.job.keep_failures,
            sha256=sha256,
        )

    def _conclude(self, results: Sequence[EpisodeResult]) -> Collected:
        keep_failures = self.job.keep_failures
        ran = [result for result in results if result.status != "error"]
        discarded = sum(not is_worth_keeping(result, keep_failures=keep_failures) for result in ran)
        planned = len(self.plan.part)
        collected = Collected(summarise(results, planned), self.writer.num_episodes)
        rows = [
            *summary_rows(collected.summary),
            ("discarded", f"{discarded}/{planned}   {100 * discarded / planned:.1f} %"),
            ("dataset", self._kept_text()),
        ]
        self.console.conclude(rows, lambda: self._result_json(collected))
        if not collected.kept:
            self.console.warn(f"no episode was kept, {self._shown} cannot be trained on; try --keep-failures")
        return collected

    def _result_json(self, collected: Collected) -> dict[str, Any]:
        folder = str(self._shown)
        return {"folder": folder, "episodes": collected.kept, "summary": collected.summary.to_json()}

    def _kept_text(self) -> str:
        return f"{self._shown}: {self.writer.num_episodes} episodes"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code."""
    return run_command(CollectConfig, _run_command, PROGRAM, arguments)


def _run_command(config: CollectConfig) -> int:
    if config.verify is None:
        collected = collect(config)
        return EPISODE_ERRORS if collected.summary.errors or not collected.kept else COMPLETE
    if config.output is not None:
        raise PlanError("expected either --output, to collect, or --verify, to check; got both")
    with Console(config.quiet, config.json) as console:
        finding = verify_dataset(config.verify, progress=not config.quiet)
        console.conclude(finding.rows(), lambda: asdict(finding))
    return EPISODE_ERRORS if finding.differences else COMPLETE


if __name__ == "__main__":
    sys.exit(main())
