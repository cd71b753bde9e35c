"""Evaluates one policy in one environment and says how often it succeeds.

    python -m eval.rollout --model scripted --env reach --episodes 200 --output runs/reach

The same from Python: `run(RolloutConfig(model="scripted", env="reach"))`; the loop alone: `rollout(…)`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eval.assembly import build_environment, build_policy, environment_id
from eval.command import COMPLETE, EPISODE_ERRORS, config_to_json, plan_text, run_command
from eval.flags import command_line
from eval.loop import rollout
from eval.observers.log import EpisodeLog
from eval.observers.progress import Progress
from eval.observers.video import VideoRecorder, remove_unfinished_videos
from eval.plan import EpisodeSpec, PlanError, plan_episodes, plan_seeds
from eval.provenance import fingerprint, source_state
from eval.receipt import ReceiptKeeper, collect_receipts, receipted, remove_receipts
from eval.results import EPISODES_FILE, EpisodeResult, RunRecord, read_results
from eval.run_folder import check_output, check_same_run, earlier_record, earlier_results, held
from eval.seed_overlap import SeedOverlap, seed_overlap
from eval.summary import format_summary, smallest_difference_text, summarise
from eval.worker import Job
from eval.workers import run_in_workers
from policies.base import Policy

if TYPE_CHECKING:
    from envs.vector_env import TaskVectorEnv

__all__ = ["RolloutConfig", "main", "rollout", "run"]

PROGRAM = "python -m eval.rollout"


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """Evaluate a policy: run episodes, print the success rate with its interval, keep a record."""

    model: str
    """What to evaluate: bc, vla, scripted, random, zero, a checkpoint folder, or module:attribute."""
    checkpoint: Path | None = None
    """Folder with the weights of --model; by default the shipped ones."""
    env: str = "pick-place"
    """Environment: reach, pick-place, pick-place-language, or a full id."""
    episodes: int = 50
    """Number of episodes. Ignored if --seeds is given."""
    seed: int = 0
    """Base seed: episode i runs with seed + i."""
    seeds: tuple[int, ...] | None = None
    """Seeds of the episodes, one each, instead of --episodes and --seed."""
    num_envs: int = 16
    """Episodes simulated side by side. Changes the speed, never a result."""
    workers: int = 1
    """Processes that run episodes, each with --num-envs side by side. Changes the speed, never a result."""
    output: Path | None = None
    """Folder for the record, new or empty. Default: the next free runs/<model>-<env>-<number>."""
    resume: bool = False
    """Continue the run in --output where it broke off; only what is missing is run, and episodes that are `error`."""
    video: int = 0
    """Film the first so many episodes."""
    terminate_on_success: bool = True
    """End an episode at its first success. If not, episodes run to their time limit, success counts at the end,
    and held successes and objects knocked away again are told apart."""

    def plan(self) -> tuple[EpisodeSpec, ...]:
        """Return the planned episodes.

        Raises:
            PlanError: If the seeds or their number make no sense.
        """
        return plan_seeds(self.seeds) if self.seeds is not None else plan_episodes(self.episodes, self.seed)

    def check_shape(self) -> None:
        """Refuse a number of workers or slots that cannot run anything, and a resume of nothing in particular.

        Raises:
            PlanError: Saying which.
        """
        if self.workers < 1 or self.num_envs < 1:
            raise PlanError(f"expected workers and num_envs of at least 1, got {self.workers} and {self.num_envs}")
        if self.resume and self.output is None:
            raise PlanError("expected --output with --resume: the folder of the run to continue")


# Settings that a command for one episode does not need; all others decide how the episode goes, and are kept.
_ONE_EPISODE: dict[str, Any] = {
    name: getattr(RolloutConfig, name)
    for name in ("episodes", "seed", "num_envs", "workers", "output", "resume", "video")
}


def run(config: RolloutConfig) -> RunRecord:
    """Run what `config` says, printing progress and result, and return the record, which is also on disk.

    Raises:
        SimScaleError: If the configuration is mistaken.
        KeyboardInterrupt: If interrupted, after the finished episodes are on disk and summarised.
    """
    plan = config.plan()
    config.check_shape()
    if config.output is not None:
        check_output(config.output, resume=config.resume)  # before time is spent on loading
    env_id = environment_id(config.env)
    policy = build_policy(config.model, config.checkpoint, env_id)
    slots = min(config.num_envs, len(plan))
    # Workers build environments of their own; this one then only shows that it can be built, and what draws in it.
    env = build_environment(
        policy.contract,
        env_id,
        1 if config.workers > 1 else slots,
        terminate_on_success=config.terminate_on_success,
    )
    folder = config.output or _next_free_folder(config)
    with held(folder):
        check_output(folder, resume=config.resume)  # again: until now another run could have begun there
        resolved = {"environment": env_id, "num_envs": slots, "workers": config.workers, "episodes": len(plan)}
        return _Run(config, env, policy, plan, folder, resolved).execute()


@dataclass(frozen=True)
class _Run:
    """One run with everything built, and its folder."""

    config: RolloutConfig
    env: TaskVectorEnv
    policy: Policy
    plan: tuple[EpisodeSpec, ...]
    folder: Path
    resolved: dict[str, Any]

    def execute(self) -> RunRecord:
        record, earlier = self._take_up(self._begun_record())
        print(f"{self.config.model} in {self.resolved['environment']}: {plan_text(self.plan)}")
        print(f"{self._shape_text()}; record in {self.folder}", flush=True)
        if self._overlap:
            print(f"warning: {self._overlap.text()}", flush=True)
        clock = time.monotonic()
        record.write(self.folder)
        try:
            self._run_episodes(earlier)
        except KeyboardInterrupt:
            self._conclude(record, earlier, time.monotonic() - clock)
            print(f"{'continue with':<20} {self._resume_command()}", flush=True)
            raise
        return self._conclude(record, earlier, time.monotonic() - clock)

    @cached_property
    def _overlap(self) -> SeedOverlap | None:
        return seed_overlap(self.policy, self.plan)

    def _shape_text(self) -> str:
        at_once = f"{self.resolved['num_envs']} at a time"
        return f"{at_once} in each of {self.config.workers} workers" if self.config.workers > 1 else at_once

    def _take_up(self, now: RunRecord) -> tuple[RunRecord, list[EpisodeResult]]:
        """Return the record to go on with and the results that are there, sure that they belong to this run."""
        before = earlier_record(self.folder)
        if before is None:
            if self.config.resume:
                print(f"nothing to resume in {self.folder}: starting with the first episode")
            return now, []
        check_same_run(self.folder, before, now)
        earlier = earlier_results(self.folder, self.plan)
        missing = len(self.plan) - len(earlier)
        text = f"{missing} of {len(self.plan)} episodes are missing" if missing else "complete, nothing to resume"
        print(f"{self.folder}: {text}")
        return replace(now, timing=before.timing, receipts=before.receipts), earlier

    def _run_episodes(self, earlier: Sequence[EpisodeResult]) -> None:
        """Run what is not among the `earlier` results, here or in workers."""
        done = {result.episode_index for result in earlier}
        left = [spec for spec in self.plan if spec.episode_index not in done]
        listeners = [EpisodeLog(self.folder, earlier), Progress(len(self.plan), earlier=earlier)]
        job = self._job()
        remove_unfinished_videos(job.video_folder)
        if self.config.workers == 1:
            policy = ReceiptKeeper(self.policy, job.receipt_folder, job.receipted)
            # The film first: an episode counts when all that belongs to it is on disk.
            rollout(self.env, policy, left, [VideoRecorder(job.video_folder, job.filmed), *listeners])
            return
        self.env.close()
        try:
            run_in_workers(job, left, self.config.workers, listeners)
        finally:
            remove_unfinished_videos(job.video_folder)

    def _job(self) -> Job:
        return Job(
            model=self.config.model,
            checkpoint=self.config.checkpoint,
            env_id=self.resolved["environment"],
            num_envs=self.resolved["num_envs"],
            terminate_on_success=self.config.terminate_on_success,
            video_folder=self.folder / "videos",
            filmed=range(self.config.video),
            receipt_folder=self.folder,
            receipted=receipted(self.plan),
        )

    def _conclude(self, begun: RunRecord, earlier: Sequence[EpisodeResult], seconds: float) -> RunRecord:
        """Write the final record from what is on disk, and say what was found."""
        results, done = self._finished(), {result.episode_index for result in earlier}
        new = [result for result in results if result.episode_index not in done]
        summary = summarise(results, len(self.plan))
        speed = _speed(new, seconds) if new else {}
        receipts = collect_receipts(self.folder, begun.receipts)
        record = replace(begun, timing={**begun.timing, **speed}, receipts=receipts, summary=summary.to_json())
        path = record.write(self.folder)
        remove_receipts(self.folder)
        print(format_summary(summary))
        rows = {
            "warning": self._overlap.text() if self._overlap else "",
            "could have seen": smallest_difference_text(summary),
            "time": f"{seconds:.1f} s, {len(new) / seconds:.2f} episodes/s",
            "record": str(path),
            "replay": self._replay_command(results),
        }
        print("\n".join(f"{name:<20} {text}" for name, text in rows.items() if text), flush=True)
        return record

    def _replay_command(self, results: Sequence[EpisodeResult]) -> str:
        """Return what to type to run one episode again, the first that failed if there is one; "" without episodes."""
        for result in [*(result for result in results if result.status != "success"), *results]:
            return command_line(PROGRAM, replace(self.config, **_ONE_EPISODE, seeds=(result.seed,)))
        return ""

    def _resume_command(self) -> str:
        return command_line(PROGRAM, replace(self.config, output=self.folder, resume=True))

    def _finished(self) -> list[EpisodeResult]:
        path = self.folder / EPISODES_FILE
        return read_results(path) if path.exists() else []

    def _gl_renderer(self) -> str | None:
        """Return the GL driver's name for what draws the policy's images, None if it sees none."""
        if not self.policy.contract.cameras:
            return None
        from envs.rendering import renderer_name

        self.env.render_images(np.zeros(self.env.num_envs, dtype=bool))  # makes sure that there is a GL context
        return renderer_name()

    def _begun_record(self) -> RunRecord:
        return RunRecord(
            config=config_to_json(self.config),
            resolved=self.resolved,
            source=source_state(),
            fingerprint=fingerprint(self._gl_renderer()),
            checkpoint_digest=_checkpoint_digest(self.policy),
            contract=self.policy.contract.to_json(),
            timing={"started": datetime.now(UTC).isoformat(timespec="seconds")},
            seed_overlap=self._overlap.to_json() if self._overlap else None,
        )


def _checkpoint_digest(policy: Policy) -> str | None:
    checkpoint = getattr(policy, "checkpoint", None)  # only learned policies have one
    return None if checkpoint is None else str(checkpoint.digest)


def _speed(results: Sequence[EpisodeResult], seconds: float) -> dict[str, float]:
    """Return the figures of the `results` that took `seconds`; earlier ones of a resumed run are not among them."""
    steps = sum(result.steps for result in results)
    return {"seconds": seconds, "episodes_per_second": len(results) / seconds, "steps_per_second": steps / seconds}


def _next_free_folder(config: RolloutConfig) -> Path:
    """Create and return the folder of a run for which none was given."""
    name = f"{Path(config.model).name}-{Path(config.env).name}".replace(":", ".")
    for number in count(1):
        folder = Path("runs") / f"{name}-{number:03d}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError("unreachable: the numbers do not end")


def _run_and_judge(config: RolloutConfig) -> int:
    summary = run(config).summary
    return EPISODE_ERRORS if summary and summary["errors"] else COMPLETE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code."""
    return run_command(RolloutConfig, _run_and_judge, PROGRAM, arguments)


if __name__ == "__main__":
    sys.exit(main())
