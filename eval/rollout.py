"""Evaluates one policy in one environment and reports its success rate.

    python -m eval.rollout --model scripted --env reach --episodes 200 --output runs/reach

The same from Python: `run(RolloutConfig(model="scripted", env="reach"))`. The loop alone: `rollout(…)`.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envs.choices import EnvironmentFlags
from envs.registration import find_environment
from eval.episodes.loop import rollout
from eval.episodes.plan import WHOLE, PlanError
from eval.execution.assembly import build_policy
from eval.execution.cluster.pool import check_executor, run_on_ray
from eval.execution.evaluation import EvaluationJob
from eval.execution.invocation import Invocation, Outcome, prepare
from eval.execution.planning import PlanRequest, plan_run
from eval.execution.worker import TIMEOUT_SECONDS, Executor, check_shape
from eval.observers.progress import Progress
from eval.observers.rerun.rrd_file import import_rerun
from eval.probing.interventions import parse_interventions
from eval.probing.probe_axes import read_perturbations
from eval.runs.folder import check_output, run_folder
from eval.runs.log_file import EPISODES_FILE
from eval.runs.media_paths import MEDIA, RERUN_FOLDER, VIDEOS_FOLDER
from eval.runs.reading import read_run
from eval.runs.record import RunRecord
from eval.runs.versions import RECORD_FILE
from eval.terminal.command import COMPLETE, EPISODE_ERRORS, config_to_json, run_command, shape_text
from eval.terminal.console import Console, Row, rows_text
from eval.terminal.figures import moved_object_text, overlap_text, smallest_difference_text, summary_rows
from eval.terminal.flags import Points, command_line
from policies.learned.devices import Device
from policies.options import PolicyFlags, parse_options
from simscaleai.command_line import raise_at_interrupt

if TYPE_CHECKING:
    from eval.comparison.outcome import Comparison

__all__ = ["RolloutConfig", "main", "rollout", "run"]

PROGRAM = "python -m eval.rollout"
REPORT_PROGRAM = "python -m eval.report"

_EXCLUDES = {
    "detect": ("episodes", "seeds", "until_width", "until_decided"),
    "until_width": ("until_decided", "vs"),
}
"""Name of a setting, with the settings that must not be combined with it."""


@dataclass(frozen=True, kw_only=True)
class RolloutConfig(EnvironmentFlags, PolicyFlags):
    """Evaluate a policy: run episodes, print the success rate with its interval, write a record."""

    model: str | None = None
    """Policy to evaluate: bc, vla, scripted, random, zero, a shipped checkpoint by name, a checkpoint folder,
    module:function or file.py:function, which takes an observation and returns an action, lerobot:FOLDER,
    sb3:FILE.zip, or ws://HOST:PORT, a server that speaks the openpi protocol."""
    checkpoint: Path | None = None
    """Folder with the weights of --model; by default the shipped ones."""
    episodes: int | None = None
    """Number of episodes, by default 50. With --until-width or --until-decided, the largest number. Ignored if --seeds
    is given."""
    seed: int | None = None
    """Base seed, by default 0: episode i runs with seed + i."""
    seeds: tuple[int, ...] | None = None
    """Seeds of the episodes, one each, instead of --episodes and --seed."""
    detect: Points = None
    """Smallest difference to detect (10pp, 10% or 0.1). The run has as many episodes as a paired comparison with
    another policy needs for 80 % power: in the hardest case (success rates around 50 %), or for a policy that
    succeeds like that of --vs."""
    until_width: Points = None
    """Run episodes until the 95 % interval of the success rate is at most this wide from end to end (5pp, 5% or 0.05).
    The interval is valid although the run stops early."""
    until_decided: bool = False
    """Run the episodes of --vs until the policy is shown to be better or worse than the policy of that run."""
    vs: Path | None = None
    """Folder of the complete run to compare with, for --until-decided or --detect."""
    shard: str | None = None
    """Run only one part of the run, for example 3/16: every 16th episode from the third. `eval.merge` joins all parts.
    For several machines without a connection."""
    intervene: tuple[str, ...] = ()
    """Change what the policy gets, to learn what it depends on: target=red (the same scenes, another object to move),
    language=empty, language=shuffled (another seed's instruction), language=held-out (a phrasing never trained on),
    language=counterfactual (another object named), language="words of your own", vision=black, vision=other-seed,
    vision=frozen, state=zero."""
    perturb: tuple[str, ...] = ()
    """Perturb every episode, each AXIS=LEVEL (0 to 5), AXIS=MAGNITUDE with its unit, or GROUP=LEVEL: light=3,
    camera.azimuth=-15deg, image.blur.wrist=2. What is left open is drawn from the episode's seed. Level 0 changes
    nothing. docs/guides/perturbations.md lists the axes."""
    delay: int = 0
    """Latency of the policy in control steps, short for --perturb latency=…: each answer but the first comes so many
    steps late, while the rest of the old chunk runs on."""
    num_envs: int | None = None
    """Episodes simulated at the same time. By default 256, for a policy that uses images 64, with --until-… 16; at most
    the number of episodes. Changes the speed, never a result."""
    workers: int = 1
    """Processes that run episodes, each with --num-envs at the same time. Changes the speed, never a result."""
    executor: Executor = "process"
    """Where workers run: process, on this machine, or ray, on the cluster of RAY_ADDRESS (extra `ray`), one CPU each.
    Changes the speed, never a result."""
    device: Device | None = None
    """Where a learned policy computes: cpu or cuda. One process of each machine then computes it for all workers there.
    By default, each worker has a model of its own on one core. cpu changes the speed, never a result."""
    timeout: float = TIMEOUT_SECONDS
    """Seconds that the policy or the environment may take for one answer. After that, a worker is killed and its
    episodes run again; without workers the run ends."""
    output: Path | None = None
    """Folder for the record, new or empty. Default: the next free runs/<model>-<env>-<number>."""
    resume: bool = False
    """Continue the run in --output: only missing episodes are run, and episodes with the status `error`."""
    accept_inexact: bool = False
    """With --resume: continue although the environment does not repeat itself. The result may then differ from that of
    an uninterrupted run."""
    video: int = 0
    """Number of episodes to film, from the first. Their actions and observations are written to traces/."""
    rerun: int = 0
    """Number of episodes to record for the Rerun viewer (extra `rerun`), from the first: pictures of all cameras,
    observations, actions, chunks and stages, written to rerun/."""
    quiet: bool = False
    """Print only warnings and errors, no progress."""
    json: bool = False
    """Print the result as one JSON object instead of text; progress goes to standard error."""
    terminate_on_success: bool = True
    """End an episode at its first success. Otherwise every episode runs to its time limit, success counts at its end,
    and successes at any step and successes that were held are counted, too."""

    def check(self) -> None:
        """Check that the settings fit each other and that the numbers are in range.

        Raises:
            PlanError: If two settings exclude each other, one is missing, or a number is out of range.
            SimScaleError: If an intervention or a policy option cannot be read.
        """
        for name, others in _EXCLUDES.items():
            for other in others if self._is_given(name) else ():
                if self._is_given(other):
                    both = " or ".join(f"--{each.replace('_', '-')}" for each in (name, other))
                    raise PlanError(f"expected {both}, got both; leave one out")
        if self.model is None:
            raise PlanError("expected --model, got none; for example --model vla")
        if self.until_decided and self.vs is None:
            raise PlanError("expected --vs with --until-decided: the folder of the run to compare with")
        if self.vs is not None and not self.until_decided and self.detect is None:
            raise PlanError("expected --until-decided or --detect with --vs; to compare two runs, use eval.compare")
        if self.resume and self.output is None:
            raise PlanError("expected --output with --resume: the folder of the run to continue")
        parse_interventions(self.intervene)
        parse_options(self.policy_option)
        self._check_numbers()

    def _check_numbers(self) -> None:
        for flag, number in {"--video": self.video, "--rerun": self.rerun}.items():
            if number < 0:
                raise PlanError(f"expected {flag} of at least 0 episodes, got {number}")
        if self.rerun:
            import_rerun()
        check_shape(self.workers, self.num_envs, self.timeout)
        check_executor(self.executor)

    def _is_given(self, name: str) -> bool:
        return bool(getattr(self, name) != getattr(RolloutConfig, name))

    def request(self) -> PlanRequest:
        """Return the settings that decide which episodes run."""
        return PlanRequest(**{field.name: getattr(self, field.name) for field in fields(PlanRequest)})


_PLAN = (*(field.name for field in fields(PlanRequest)), "vs")
_ONE_EPISODE: dict[str, Any] = {
    name: getattr(RolloutConfig, name)
    for name in (
        *(*_PLAN, "num_envs", "workers", "executor", "timeout", "output", "resume", "accept_inexact"),
        *("video", "rerun", "quiet", "json"),
    )
}
"""Defaults of the settings that do not change how an episode goes. A command that replays one episode omits them."""


def run(config: RolloutConfig) -> RunRecord:
    """Evaluate the policy of `config`, print progress and result, and return the record, which is also on disk.

    Raises:
        SimScaleError: If the configuration is wrong.
        KeyboardInterrupt: If interrupted, after the finished episodes are on disk and summarised.
    """
    config.check()
    model = config.model or ""
    registration = find_environment(config.environment)
    reference = None if config.vs is None else read_run(config.vs)
    plan = plan_run(config.request(), reference, registration.tasks)
    check_output(config.output, resume=config.resume)  # before time is spent on loading
    job = EvaluationJob(
        model=model,
        checkpoint=config.checkpoint,
        options=parse_options(config.policy_option),
        env=config.environment,
        interventions=parse_interventions(config.intervene),
        perturbations=read_perturbations(config.perturb, config.delay, registration.offer()),
        num_envs=config.num_envs or 0,
        terminate_on_success=config.terminate_on_success,
        timeout=config.timeout,
        device=config.device,
        folder=Path(),
        filmed=range(min(config.video, len(plan.specs))),
        recorded=range(min(config.rerun, len(plan.specs))),
        identity="",
    )
    with Console(config.quiet, config.json) as console, chdir("."):  # which at the end is the user's folder again
        policy = build_policy(model, config.checkpoint, job.registration.offer(), job.options, config.device)
        cluster = run_on_ray if config.executor == "ray" else None
        with prepare(job, policy, plan, config.workers, cluster) as invocation:
            raise_at_interrupt()
            name = f"{Path(model).name}-{Path(config.env).name}".replace(":", ".")
            with run_folder(config.output, name, job.home) as shown:
                # Again, because another run may have begun there in the meantime.
                check_output(job.home / shown, resume=config.resume, is_locked=True)
                invocation = invocation.in_folder(job.home / shown, config_to_json(config))
                return _Presentation(config, invocation, console, shown).execute()


@dataclass(frozen=True)
class _Presentation:
    """Runs one invocation and prints its progress and result."""

    config: RolloutConfig
    invocation: Invocation
    console: Console
    shown: Path
    """Folder of the run as the user wrote it."""

    def execute(self) -> RunRecord:
        invocation = self.invocation
        invocation.begin(accept_inexact=self.config.accept_inexact)
        self._announce()
        progress = None
        if not self.config.quiet:
            progress = Progress(
                len(invocation.plan.part),
                earlier=invocation.earlier,
                sequential=invocation.stopping is not None,
                shard=invocation.plan.shard or WHOLE,
            )
        try:
            invocation.run_episodes([progress] if progress else [])
        except KeyboardInterrupt:
            self._conclude(invocation.conclude())
            self.console.say(rows_text([("continue with", self._resume_command())]))
            raise
        return self._conclude(invocation.conclude())

    def _announce(self) -> None:
        invocation = self.invocation
        if invocation.is_resumed:
            self.console.say(f"{self.shown}: {_missing_text(invocation)}")
        elif self.config.resume:
            self.console.say(f"nothing to resume in {self.shown}: starting with the first episode")
        self.console.say(f"{self.config.model} in {invocation.record.resolved.environment}: {invocation.plan.text}")
        if invocation.plan.reason:
            self.console.say(invocation.plan.reason)
        if self.config.intervene:
            self.console.say(f"intervention: {invocation.job.interventions.meaning()}")
        if invocation.job.perturbations.settings:
            self.console.say(f"perturbation: {invocation.job.perturbations.meaning()}")
        shape = shape_text(invocation.record.resolved.num_envs, self.config.workers)
        self.console.say(f"{shape}; record in {self.shown}")
        for warning in self._warnings:
            self.console.warn(warning)

    @property
    def _warnings(self) -> list[str]:
        overlap, planned = self.invocation.record.seed_overlap, len(self.invocation.plan.specs)
        return [*([overlap_text(overlap, planned)] if overlap else []), *self.invocation.repetition.warnings()]

    def _conclude(self, outcome: Outcome) -> RunRecord:
        comparison = self._compared_with_reference(outcome)
        if comparison and outcome.record.sequential:
            from eval.comparison.as_json import findings_of

            sequential = replace(outcome.record.sequential, findings=findings_of(comparison))
            outcome = replace(outcome, record=replace(outcome.record, sequential=sequential))
            outcome.record.write(self.invocation.folder)
        rows = [
            *self._result_rows(outcome, comparison),
            ("time", self._time_text(outcome)),
            *self._file_rows(),
            ("replay", self._replay_command(outcome)),
        ]
        self.console.conclude(rows, lambda: self._result_json(outcome))
        return outcome.record

    def _compared_with_reference(self, outcome: Outcome) -> Comparison | None:
        """Return the comparison of a complete run with its reference (--until-decided); None for other runs."""
        from eval.comparison.pairing import compare
        from eval.runs.run import Run

        plan, run = self.invocation.plan, Run(self.invocation.folder, outcome.record, outcome.results)
        if plan.reference is None or plan.rule is None or not run.is_complete:
            return None
        return compare(plan.reference, run)

    def _result_rows(self, outcome: Outcome, comparison: Comparison | None) -> Iterator[Row]:
        record = outcome.record
        if record.summary is None:
            return
        yield from summary_rows(record.summary)
        if record.sequential:
            from eval.comparison.text import sequential_rows

            yield from sequential_rows(record.sequential, record.summary, comparison)
        yield "intervention", self.invocation.job.interventions.meaning()
        yield "perturbation", self.invocation.job.perturbations.meaning()
        yield "right object", moved_object_text(record.summary) if self.invocation.has_targets else ""
        for warning in self._warnings:
            yield "warning", warning
        yield "smallest difference", smallest_difference_text(record.summary)

    def _time_text(self, outcome: Outcome) -> str:
        timing = outcome.record.timing
        text = f"{timing.seconds or outcome.seconds:.1f} s, {timing.episodes_per_second or 0:.2f} episodes/s"
        since = f"; since the run was resumed, {outcome.seconds:.1f} s and {outcome.new_episodes} episodes"
        return text + since if self.invocation.is_resumed else text

    def _file_rows(self) -> Iterator[Row]:
        """Yield the paths of the run's files, and the command that makes a report."""
        folder = self.shown
        yield "record", str(folder / RECORD_FILE)
        if not (self.invocation.folder / EPISODES_FILE).exists():  # interrupted before the first episode ended
            return
        yield "episodes", str(folder / EPISODES_FILE)
        for name in MEDIA:
            files = self._files(name)
            yield name, f"{folder / name}, {len(files)} file{'s' * (len(files) > 1)}" if files else ""
        yield "for a report", f"{REPORT_PROGRAM} {shlex.quote(str(folder))}"

    def _files(self, folder: str) -> list[Path]:
        names = sorted(path.name for path in (self.invocation.folder / folder).glob("episode_*"))
        return [self.shown / folder / name for name in names]

    def _result_json(self, outcome: Outcome) -> dict[str, Any]:
        """Return the result for scripts: folder, videos, replay command, and the figures of the record."""
        record = outcome.record.to_json()
        return {
            "folder": str(self.shown),
            "videos": [str(path) for path in self._files(VIDEOS_FOLDER)],
            "rerun": [str(path) for path in self._files(RERUN_FOLDER)],
            "replay": self._replay_command(outcome),
            **{name: record[name] for name in ("resolved", "timing", "seed_overlap", "sequential", "summary")},
        }

    def _replay_command(self, outcome: Outcome) -> str:
        """Return the command that runs the first failure again, or else the first episode; "" without episodes."""
        failed = [result for result in outcome.results if result.status != "success"]
        for result in [*failed, *outcome.results][:1]:
            one = _ONE_EPISODE | {"seeds": (result.seed,)}
            if result.task is not None:  # its id holds its success rule and options
                one |= {"env": result.task, "success": None, "env_option": (), "max_episode_steps": None}
            return command_line(PROGRAM, replace(self.config, **one))
        return ""

    def _resume_command(self) -> str:
        inexact = self.invocation.repetition.repeats != "exact"
        return command_line(PROGRAM, replace(self.config, output=self.shown, resume=True, accept_inexact=inexact))


def _missing_text(invocation: Invocation) -> str:
    planned, missing = len(invocation.plan.part), len(invocation.plan.part) - len(invocation.earlier)
    complete = not missing or (invocation.stopping is not None and invocation.stopping.has_seen_enough)
    return "complete, nothing to resume" if complete else f"{missing} of {planned} episodes are missing"


def _run_and_judge(config: RolloutConfig) -> int:
    summary = run(config).summary
    return EPISODE_ERRORS if summary and summary.errors else COMPLETE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code."""
    return run_command(RolloutConfig, _run_and_judge, PROGRAM, arguments)


if __name__ == "__main__":
    sys.exit(main())
