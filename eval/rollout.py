"""Evaluates one policy in one environment and says how often it succeeds.

    python -m eval.rollout --model scripted --env reach --episodes 200 --output runs/reach

The same from Python: `run(RolloutConfig(model="scripted", env="reach"))`; the loop alone: `rollout(…)`.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.assembly import build_environment, build_policy, environment_id
from eval.command import COMPLETE, EPISODE_ERRORS, config_to_json, run_command, shape_text
from eval.comparison import Comparison, Run, Task
from eval.console import Console, Row, rows_text
from eval.film import remove_unfinished_films
from eval.flags import command_line
from eval.interventions import Interventions, choice_of_targets, parse_interventions
from eval.loop import rollout
from eval.moved_object import moved_objects
from eval.observers.base import Observer
from eval.observers.log import EpisodeLog
from eval.observers.progress import Progress
from eval.observers.video import VideoRecorder, video_path, video_paths
from eval.plan import PlanError
from eval.planning import RunPlan, plan_run
from eval.provenance import checkpoint_digest, fingerprint, gl_renderer, source_state
from eval.receipt import ReceiptKeeper, collect_receipts, receipted, remove_receipts
from eval.results import EPISODES_FILE, RECORD_FILE, EpisodeResult, RunRecord, read_results
from eval.rollout_config import RolloutConfig
from eval.run_folder import check_output, check_same_run, earlier_record, earlier_results, held, next_free_folder
from eval.seed_overlap import SeedOverlap, seed_overlap
from eval.sequential import compare_with_reference, findings_to_json, sequential_record, sequential_rows
from eval.stopping import InPlanOrder, Stopping
from eval.summary import Summary, smallest_difference_text, summarise, summary_rows
from eval.validation import validate
from eval.worker import Job
from eval.workers import run_in_workers
from policies.base import Policy

if TYPE_CHECKING:
    from envs.vector_env import TaskVectorEnv

__all__ = ["RolloutConfig", "main", "rollout", "run"]

PROGRAM = "python -m eval.rollout"
REPORT_PROGRAM = "python -m eval.report"

# More slots share what a step costs outside physics. But a slow policy would show nothing for long and then all at
# once, and a run that ends when it has seen enough would have begun much that it throws away.
_SLOTS, _SLOTS_WITH_IMAGES, _SLOTS_WITH_RULE = 256, 64, 16


# Settings that a command for one episode does not need; all others decide how the episode goes, and are kept.
_PLAN = ("episodes", "seed", "detect", "until_width", "until_decided", "vs")
_ONE_EPISODE: dict[str, Any] = {
    name: getattr(RolloutConfig, name)
    for name in (*_PLAN, "num_envs", "workers", "output", "resume", "video", "quiet", "json")
}


def run(config: RolloutConfig) -> RunRecord:
    """Run what `config` says, printing progress and result, and return the record, which is also on disk.

    Raises:
        SimScaleError: If the configuration is mistaken.
        KeyboardInterrupt: If interrupted, after the finished episodes are on disk and summarised.
    """
    plan = plan_run(config)
    if config.model is None:
        raise PlanError("expected --model; to choose between the checkpoints of --validate there is eval.validation")
    if config.output is not None:
        check_output(config.output, resume=config.resume)  # before time is spent on loading
    env_id = environment_id(config.env)
    policy, interventions = build_policy(config.model, config.checkpoint, env_id), parse_interventions(config.intervene)
    interventions.prepare(policy, env_id)
    plan = replace(plan, specs=interventions.planned(plan.specs, env_id))
    plan.check_task(Task.of(policy.contract.to_json(), env_id, config.terminate_on_success))
    slots = _slots(config, plan, sees=bool(policy.contract.cameras))
    # Workers build environments of their own; this one then only shows that it can be built, and what draws in it.
    env = build_environment(
        policy.contract,
        env_id,
        1 if config.workers > 1 else slots,
        terminate_on_success=config.terminate_on_success,
    )
    gl_renderer(env)  # a machine that cannot draw is found out before anything is written
    folder = config.output or next_free_folder(f"{Path(config.model).name}-{Path(config.env).name}".replace(":", "."))
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        check_output(folder, resume=config.resume)  # again: until now another run could have begun there
        resolved = {"environment": env_id, "num_envs": slots, "workers": config.workers, "episodes": len(plan.specs)}
        return _Run(config, config.model, env, policy, interventions, plan, folder, resolved).execute()


def _slots(config: RolloutConfig, plan: RunPlan, *, sees: bool) -> int:
    """Return how many episodes each worker simulates side by side; no worker takes another's share."""
    usual = _SLOTS_WITH_RULE if plan.rule else _SLOTS_WITH_IMAGES if sees else _SLOTS
    return min(config.num_envs or usual, ceil(len(plan.specs) / config.workers))


@dataclass(frozen=True)
class _Run:
    """One run with everything built, and its folder."""

    config: RolloutConfig
    model: str
    env: TaskVectorEnv
    policy: Policy
    interventions: Interventions
    plan: RunPlan
    folder: Path
    resolved: dict[str, Any]

    @cached_property
    def _console(self) -> Console:
        return Console(self.config.quiet, self.config.json)

    def execute(self) -> RunRecord:
        record, earlier = self._take_up(self._begun_record())
        stopping = Stopping(self.plan.rule, earlier) if self.plan.rule else None
        self._announce(earlier, stopping)
        clock = time.monotonic()
        record.write(self.folder)
        try:
            self._run_episodes(earlier, stopping)
        except KeyboardInterrupt:
            self._conclude(record, earlier, stopping, time.monotonic() - clock)
            self._console.say(rows_text([("continue with", self._resume_command())]))
            raise
        return self._conclude(record, earlier, stopping, time.monotonic() - clock)

    def _announce(self, earlier: Sequence[EpisodeResult], stopping: Stopping | None) -> None:
        if earlier:
            missing, planned = len(self.plan.specs) - len(earlier), len(self.plan.specs)
            complete = not missing or (stopping is not None and stopping.has_seen_enough)
            text = "complete, nothing to resume" if complete else f"{missing} of {planned} episodes are missing"
            self._console.say(f"{self.folder}: {text}")
        self._console.say(f"{self.model} in {self.resolved['environment']}: {self.plan.text}")
        if self.plan.reason:
            self._console.say(self.plan.reason)
        if self.config.intervene:
            self._console.say(f"intervention: {self.interventions.meaning()}")
        shape = shape_text(self.resolved["num_envs"], self.config.workers)
        self._console.say(f"{shape}; record in {self.folder}")
        if self._overlap:
            self._console.warn(self._overlap.text())

    @cached_property
    def _overlap(self) -> SeedOverlap | None:
        return seed_overlap(self.policy, self.plan.specs)

    def _take_up(self, now: RunRecord) -> tuple[RunRecord, list[EpisodeResult]]:
        """Return the record to go on with and the results that are there, sure that they belong to this run."""
        before = earlier_record(self.folder)
        if before is None:
            if self.config.resume:
                self._console.say(f"nothing to resume in {self.folder}: starting with the first episode")
            return now, []
        check_same_run(self.folder, before, now)
        now = replace(now, timing=before.timing, receipts=before.receipts)
        return now, earlier_results(self.folder, self.plan.specs)

    def _run_episodes(self, earlier: Sequence[EpisodeResult], stopping: Stopping | None) -> None:
        """Run what is not among the `earlier` results, here or in workers, until `stopping` has seen enough."""
        done = {result.episode_index for result in earlier}
        left = [spec for spec in self.plan.specs if spec.episode_index not in done]
        log = EpisodeLog(self.folder, earlier, stopping.keeps) if stopping else EpisodeLog(self.folder, earlier)
        listeners: list[Observer] = [log, *([stopping] if stopping else [])]
        if not self.config.quiet:
            listeners.append(Progress(len(self.plan.specs), earlier=earlier, sequential=stopping is not None))
        job = self._job()
        remove_unfinished_films(job.video_folder)
        if self.config.workers == 1:
            keeper = ReceiptKeeper(self.policy, job.receipt_folder, job.receipted)
            policy = self.interventions.stand_before(keeper, job.env_id)
            # The film first: an episode counts when all that belongs to it is on disk.
            rollout(self.env, policy, left, [VideoRecorder(video_paths(job.video_folder, job.filmed)), *listeners])
            return
        self.env.close()
        try:
            run_in_workers(job, left, self.config.workers, listeners)
        finally:
            remove_unfinished_films(job.video_folder)

    def _job(self) -> Job:
        return Job(
            model=self.model,
            checkpoint=self.config.checkpoint,
            env_id=self.resolved["environment"],
            interventions=self.interventions,
            num_envs=self.resolved["num_envs"],
            terminate_on_success=self.config.terminate_on_success,
            video_folder=self._video_folder,
            filmed=range(self.config.video),
            receipt_folder=self.folder,
            receipted=receipted(self.plan.specs),
        )

    def _conclude(
        self, begun: RunRecord, earlier: Sequence[EpisodeResult], stopping: Stopping | None, seconds: float
    ) -> RunRecord:
        """Write the final record from what is on disk, and say what was found."""
        results, done = self._counting(stopping), {result.episode_index for result in earlier}
        new = [result for result in results if result.episode_index not in done]
        ended = stopping is not None and stopping.has_seen_enough
        summary = summarise(results, len(results) if ended else len(self.plan.specs), sequential=stopping is not None)
        record = replace(
            begun,
            timing={**begun.timing, **(_speed(new, seconds) if new else {})},
            receipts=collect_receipts(self.folder, begun.receipts),
            sequential=sequential_record(self.plan, stopping),
            summary=summary.to_json(),
        )
        if ended:
            record = self._without_dropped(record, len(results))
        comparison = compare_with_reference(self.plan, Run(self.folder, record, tuple(results)))
        if comparison:
            record = replace(record, sequential={**(record.sequential or {}), **findings_to_json(comparison)})
        record.write(self.folder)
        remove_receipts(self.folder)
        rows = [
            *self._found_rows(summary, record, comparison, self._moved_text(results, stopping)),
            ("time", f"{seconds:.1f} s, {len(new) / seconds:.2f} episodes/s"),
            *self._place_rows(),
            ("replay", self._replay_command(results)),
        ]
        self._console.conclude(rows, lambda: self._found_json(record, results))
        return record

    def _found_rows(
        self, summary: Summary, record: RunRecord, comparison: Comparison | None, moved_text: str
    ) -> Iterator[Row]:
        yield from summary_rows(summary)
        yield from sequential_rows(record, comparison)
        yield "intervention", self.interventions.meaning()
        yield "right object", moved_text
        yield "warning", self._overlap.text() if self._overlap else ""
        yield "could have seen", smallest_difference_text(summary)

    def _place_rows(self) -> Iterator[Row]:
        """Yield where the files of the run lie, and what makes a page of them."""
        yield "record", str(self.folder / RECORD_FILE)
        yield "episodes", str(self.folder / EPISODES_FILE)
        films = self._films()
        yield "videos", f"{self._video_folder}, {len(films)} film{'s' * (len(films) > 1)}" if films else ""
        yield "for a report", f"{REPORT_PROGRAM} {shlex.quote(str(self.folder))}"

    @property
    def _video_folder(self) -> Path:
        return self.folder / "videos"

    def _films(self) -> list[Path]:
        return sorted(self._video_folder.glob("*.mp4"))

    def _found_json(self, record: RunRecord, results: Sequence[EpisodeResult]) -> dict[str, Any]:
        """Return what was found for scripts: where it lies, and the record without what only proves it."""
        return {
            "folder": str(self.folder),
            "videos": [str(path) for path in self._films()],
            "replay": self._replay_command(results),
            **{name: getattr(record, name) for name in ("resolved", "timing", "seed_overlap", "sequential", "summary")},
        }

    def _moved_text(self, results: Sequence[EpisodeResult], stopping: Stopping | None) -> str:
        """Return which object was moved, if the words were not those of the scene."""
        if self.interventions.language is None or not choice_of_targets(self.resolved["environment"]):
            return ""
        return moved_objects(results, sequential=stopping is not None).text()

    def _without_dropped(self, record: RunRecord, n: int) -> RunRecord:
        """Remove videos and receipts of episodes after the first `n`, which were begun before the run ended."""
        for index in range(n, self.config.video):
            video_path(self._video_folder, index).unlink(missing_ok=True)
        return replace(record, receipts=[receipt for receipt in record.receipts if receipt["episode_index"] < n])

    def _replay_command(self, results: Sequence[EpisodeResult]) -> str:
        """Return what to type to run one episode again, the first that failed if there is one; "" without episodes."""
        for result in [*(result for result in results if result.status != "success"), *results]:
            return command_line(PROGRAM, replace(self.config, **_ONE_EPISODE, seeds=(result.seed,)))
        return ""

    def _resume_command(self) -> str:
        return command_line(PROGRAM, replace(self.config, output=self.folder, resume=True))

    def _counting(self, stopping: Stopping | None) -> list[EpisodeResult]:
        """Return the episodes on disk that count: the first without a gap; of a run that has seen enough, up to there.

        Of an interrupted run there may be more, but those had ended because they were short, and most of these are
        successes.
        """
        path = self.folder / EPISODES_FILE
        in_order = InPlanOrder()
        due = [result for ended in (read_results(path) if path.exists() else ()) for result in in_order.add(ended)]
        return due[: stopping.n] if stopping else due

    def _begun_record(self) -> RunRecord:
        return RunRecord(
            config=config_to_json(self.config),
            resolved=self.resolved,
            source=source_state(),
            fingerprint=fingerprint(gl_renderer(self.env)),
            checkpoint_digest=checkpoint_digest(self.policy),
            contract=self.policy.contract.to_json(),
            timing={"started": datetime.now(UTC).isoformat(timespec="seconds")},
            seed_overlap=self._overlap.to_json() if self._overlap else None,
            sequential=sequential_record(self.plan, None),
        )


def _speed(results: Sequence[EpisodeResult], seconds: float) -> dict[str, float]:
    """Return the figures of the `results` that took `seconds`; earlier ones of a resumed run are not among them."""
    steps = sum(result.steps for result in results)
    return {"seconds": seconds, "episodes_per_second": len(results) / seconds, "steps_per_second": steps / seconds}


def _run_and_judge(config: RolloutConfig) -> int:
    if config.validate is not None:
        return EPISODE_ERRORS if validate(config, run).errors else COMPLETE
    summary = run(config).summary
    return EPISODE_ERRORS if summary and summary["errors"] else COMPLETE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code."""
    return run_command(RolloutConfig, _run_and_judge, PROGRAM, arguments)


if __name__ == "__main__":
    sys.exit(main())
