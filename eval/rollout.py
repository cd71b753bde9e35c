"""Evaluates one policy in one environment and says how often it succeeds.

    python -m eval.rollout --model scripted --env reach --episodes 200 --output runs/reach

The same from Python: `run(RolloutConfig(model="scripted", env="reach"))`; the loop alone: `rollout(…)`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eval.assembly import build_environment, build_policy, environment_id
from eval.command import COMPLETE, EPISODE_ERRORS, config_to_json, create_folder, plan_text, run_command
from eval.loop import rollout
from eval.observers.base import Observer
from eval.observers.log import EpisodeLog
from eval.observers.progress import Progress
from eval.observers.video import VideoRecorder
from eval.plan import EpisodeSpec, plan_episodes, plan_seeds
from eval.provenance import fingerprint, source_state
from eval.results import EPISODES_FILE, EpisodeResult, RunRecord, read_results
from eval.summary import Summary, format_summary, summarise
from policies.base import Policy

if TYPE_CHECKING:
    from envs.vector_env import TaskVectorEnv

__all__ = ["RolloutConfig", "main", "rollout", "run"]


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
    output: Path | None = None
    """Folder for the record, new or empty. Default: the next free runs/<model>-<env>-<number>."""
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


def run(config: RolloutConfig) -> RunRecord:
    """Run what `config` says, printing progress and result, and return the record, which is also on disk.

    Raises:
        SimScaleError: If the configuration is mistaken.
        KeyboardInterrupt: If interrupted, after the finished episodes are on disk and summarised.
    """
    plan = config.plan()
    env_id = environment_id(config.env)
    policy = build_policy(config.model, config.checkpoint, env_id)
    num_envs = min(config.num_envs, len(plan))
    env = build_environment(policy.contract, env_id, num_envs, terminate_on_success=config.terminate_on_success)
    folder = _output_folder(config)
    print(f"{config.model} in {env_id}: {plan_text(plan)}")
    print(f"{num_envs} at a time; record in {folder}", flush=True)
    resolved = {"environment": env_id, "num_envs": num_envs, "episodes": len(plan)}
    observers = [EpisodeLog(folder), Progress(), VideoRecorder(folder / "videos", range(config.video))]
    return _Run(config, env, policy, plan, folder, resolved).execute(observers)


@dataclass(frozen=True)
class _Run:
    """One run with everything built, and its folder."""

    config: RolloutConfig
    env: TaskVectorEnv
    policy: Policy
    plan: tuple[EpisodeSpec, ...]
    folder: Path
    resolved: dict[str, Any]

    def execute(self, observers: Sequence[Observer]) -> RunRecord:
        started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
        self._record({"started": started}, None).write(self.folder)
        try:
            rollout(self.env, self.policy, self.plan, observers)
        except KeyboardInterrupt:
            self._conclude(started, time.monotonic() - clock)
            raise
        return self._conclude(started, time.monotonic() - clock)

    def _conclude(self, started: str, seconds: float) -> RunRecord:
        """Write the final record from what is on disk, and say what was found."""
        results = self._finished()
        summary = summarise(results, len(self.plan))
        record = self._record({"started": started} | _speed(results, seconds), summary)
        path = record.write(self.folder)
        print(format_summary(summary))
        print(f"{'time':<20} {seconds:.1f} s, {len(results) / seconds:.2f} episodes/s")
        print(f"{'record':<20} {path}", flush=True)
        return record

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

    def _record(self, timing: dict[str, Any], summary: Summary | None) -> RunRecord:
        return RunRecord(
            config=config_to_json(self.config),
            resolved=self.resolved,
            source=source_state(),
            fingerprint=fingerprint(self._gl_renderer()),
            checkpoint_digest=_checkpoint_digest(self.policy),
            contract=self.policy.contract.to_json(),
            timing=timing,
            summary=None if summary is None else summary.to_json(),
        )


def _checkpoint_digest(policy: Policy) -> str | None:
    checkpoint = getattr(policy, "checkpoint", None)  # only learned policies have one
    return None if checkpoint is None else str(checkpoint.digest)


def _speed(results: Sequence[EpisodeResult], seconds: float) -> dict[str, float]:
    steps = sum(result.steps for result in results)
    return {"seconds": seconds, "episodes_per_second": len(results) / seconds, "steps_per_second": steps / seconds}


def _output_folder(config: RolloutConfig) -> Path:
    """Create and return the folder of the run."""
    if config.output is not None:
        create_folder(config.output)
        return config.output
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
    return run_command(RolloutConfig, _run_and_judge, "python -m eval.rollout", arguments)


if __name__ == "__main__":
    sys.exit(main())
