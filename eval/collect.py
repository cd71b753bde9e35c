"""Collects demonstrations: the rollout loop with a recorder, on seeds that no evaluation uses.

python -m eval.collect --env pick-place --episodes 500 --output data/pick_place
python -m eval.collect --verify data/pick_place
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envs.interface import CAMERAS
from eval.assembly import build_policy, environment_id
from eval.collect_job import CollectJob
from eval.command import COMPLETE, EPISODE_ERRORS, create_folder, plan_text, run_command, shape_text
from eval.console import Console, rows_text
from eval.flags import command_line
from eval.observers.base import Observer
from eval.observers.dataset import DatasetIndex, finished_results, is_worth_keeping
from eval.observers.progress import Progress
from eval.plan import DEMONSTRATION_SEEDS, TEST_SEEDS, EpisodeSpec, PlanError, plan_episodes
from eval.provenance import checkpoint_digest, fingerprint, gl_renderer
from eval.results import EpisodeResult
from eval.run_folder import held
from eval.summary import Summary, summarise, summary_rows
from eval.verify import verify_dataset
from eval.workers import run_in_workers
from policies.base import Policy
from simscaleai.data import DatasetError, DatasetWriter
from simscaleai.files import remove_partial_files

if TYPE_CHECKING:
    from envs.vector_env import TaskVectorEnv

PROGRAM = "python -m eval.collect"


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """Collect demonstrations of a task into a dataset for `simscaleai.train`, or check one that is there."""

    output: Path | None = None
    """Folder for the dataset, new or empty."""
    verify: Path | None = None
    """Collect nothing; replay every episode of the dataset in this folder and compare it, bit for bit, with what is
    stored. Exit code 1 if any differs."""
    env: str = "pick-place"
    """Environment: reach, pick-place, pick-place-language, or a full id."""
    episodes: int = 500
    """Number of episodes to run. Those that fail are not kept."""
    model: str = "scripted"
    """Who acts; any --model of eval.rollout."""
    checkpoint: Path | None = None
    """Folder with the weights of --model."""
    seed: int = DEMONSTRATION_SEEDS.start
    """Base seed: episode i runs with seed + i. Test seeds (below 1,000,000) are refused."""
    num_envs: int = 16
    """Episodes simulated side by side in each process. Changes the speed, never the data."""
    workers: int = 1
    """Processes. Changes the speed, never the data."""
    resume: bool = False
    """Continue the dataset in the output folder, to the same files as if it had never stopped; else start it."""
    cameras: tuple[str, ...] = CAMERAS
    """Cameras to store; none for a dataset without images."""
    image_size: int = 64
    """Height and width of the stored images [px]."""
    action_noise: float = 0.0
    """Standard deviation of the noise added to the displacement that is executed, in units of the action. The stored
    label stays what the demonstrator wanted, so that a learner sees how to recover."""
    expert: str | None = None
    """Who says what should have been done, any --model of eval.rollout, usually scripted: the stored label is then what
    it would do where --model got itself (DAgger), and all episodes are kept. By default --model itself."""
    keep_failures: bool = False
    """Keep episodes that are no success, too."""
    quiet: bool = False
    """Print nothing but mistakes, also no progress."""
    json: bool = False
    """Print what was found as one JSON object instead of text; progress goes to standard error."""

    def plan(self) -> tuple[EpisodeSpec, ...]:
        """Return the planned episodes.

        Raises:
            PlanError: If a test seed is among them, or their number makes no sense.
        """
        plan = plan_episodes(self.episodes, self.seed)
        if self.seed in TEST_SEEDS:
            raise PlanError(
                f"expected a base seed of at least {TEST_SEEDS.stop}, got {self.seed}: seeds below are kept for "
                f"evaluation; leave out --seed to use {DEMONSTRATION_SEEDS.start}"
            )
        if not 0 <= self.action_noise < inf:
            raise PlanError(f"expected a finite --action-noise of at least 0, got {self.action_noise}")
        return plan


def collect(config: CollectConfig) -> Summary:
    """Collect what `config` says, printing progress and result, and return how the episodes went.

    Raises:
        SimScaleError: If the configuration is mistaken, or does not fit a dataset that is to be resumed.
    """
    plan, folder = config.plan(), config.output
    if folder is None:
        raise PlanError("expected --output with the folder to write to, or --verify with a dataset to check")
    if config.workers < 1 or config.num_envs < 1:
        raise PlanError(f"expected workers and num_envs of at least 1, got {config.workers} and {config.num_envs}")
    job = _job(config, folder, min(config.num_envs, len(plan)))
    policy = job.build_policy()
    # Workers build environments of their own; this one then only shows that it can be built, and what draws in it.
    env = (replace(job, num_envs=1) if config.workers > 1 else job).build_environment(policy)
    if config.expert is not None:
        build_policy(config.expert, None, job.env_id)  # each process has its own; this shows that it can be had
    gl_renderer(env)  # a machine that cannot draw is found out before anything is written
    if config.resume and folder.is_dir():
        with held(folder):
            remove_partial_files(folder)  # all that there is, if it was killed before it began
    if not (config.resume and (folder / "dataset.json").exists()):
        create_folder(folder)
    with held(folder), _open_writer(config, folder, policy, env) as writer:
        return _Collection(config, job, policy, env, writer, plan).execute()


@dataclass(frozen=True)
class _Collection:
    """One run with everything built, and its dataset."""

    config: CollectConfig
    job: CollectJob
    policy: Policy
    env: TaskVectorEnv
    writer: DatasetWriter
    plan: tuple[EpisodeSpec, ...]

    @cached_property
    def _console(self) -> Console:
        return Console(self.config.quiet, self.config.json)

    def execute(self) -> Summary:
        left = self._left()
        self._console.say(
            f"{self.config.model} in {self.job.env_id}: {plan_text(self.plan)}",
            f"{shape_text(self.job.num_envs, self.config.workers)}; dataset in {self.writer.folder}",
        )
        try:
            errors = self._run(left) if left else []
        except KeyboardInterrupt:
            again = command_line(PROGRAM, replace(self.config, resume=True))
            self._console.say(rows_text([("dataset", f"{self._kept_text()} so far"), ("continue with", again)]))
            raise
        return self._conclude(errors)

    def _left(self) -> list[EpisodeSpec]:
        """Return the episodes that have not been run, sure that the dataset holds no others than planned."""
        planned, finished = {spec.episode_index for spec in self.plan}, self.writer.finished
        if not finished <= planned:
            raise DatasetError(
                f"{self.writer.folder} holds episode {max(finished)}; resume it with --episodes of at least "
                f"{max(finished) + 1}"
            )
        left = [spec for spec in self.plan if spec.episode_index not in finished]
        if self.config.resume:
            self._console.say(f"{self.writer.folder}: {len(left)} of {len(self.plan)} episodes are missing")
        return left

    def _run(self, left: list[EpisodeSpec]) -> list[EpisodeResult]:
        """Run what is missing, here or in workers, and return the results that count as errors."""
        earlier = finished_results(self.writer.folder)
        index = DatasetIndex(
            self.writer,
            self.job.env_id,
            relabelled=self.config.expert is not None,
            keep_failures=self.job.keep_failures,
        )
        progress = [] if self.config.quiet else [Progress(len(self.plan), earlier=earlier)]
        observers: list[Observer] = [index, *progress]
        if self.config.workers == 1:
            results = self.job.record(self.policy, self.env, left, observers)
        else:
            self.env.close()
            results = run_in_workers(self.job, left, self.config.workers, observers)
        return [result for result in results if result.status == "error"]

    def _conclude(self, errors: list[EpisodeResult]) -> Summary:
        results = finished_results(self.writer.folder)
        keep_failures = self.job.keep_failures
        discarded = sum(not is_worth_keeping(result, keep_failures=keep_failures) for result in results)
        summary = summarise([*results, *errors], len(self.plan))
        rows = [
            *summary_rows(summary),
            ("discarded", f"{discarded}/{len(self.plan)}   {100 * discarded / len(self.plan):.1f} %"),
            ("dataset", self._kept_text()),
        ]
        self._console.conclude(rows, lambda: self._found_json(summary))
        return summary

    def _found_json(self, summary: Summary) -> dict[str, Any]:
        kept = self.writer.num_episodes
        return {"folder": str(self.writer.folder), "episodes": kept, "summary": summary.to_json()}

    def _kept_text(self) -> str:
        return f"{self.writer.folder}: {self.writer.num_episodes} episodes"


def _job(config: CollectConfig, folder: Path, num_envs: int) -> CollectJob:
    return CollectJob(
        num_envs=num_envs,
        terminate_on_success=True,
        folder=folder,
        env_id=environment_id(config.env),
        model=config.model,
        checkpoint=config.checkpoint,
        expert=config.expert,
        action_noise=config.action_noise,
        cameras=config.cameras,
        image_size=config.image_size,
        keep_failures=config.keep_failures or config.expert is not None,
    )


def _open_writer(config: CollectConfig, folder: Path, policy: Policy, env: TaskVectorEnv) -> DatasetWriter:
    provenance: dict[str, Any] = {
        "policy": config.model,
        "checkpoint_digest": checkpoint_digest(policy),
        "expert": config.expert,
        "action_noise": config.action_noise,
        "seed": config.seed,
        "keep_failures": config.keep_failures,
        "fingerprint": fingerprint(gl_renderer(env)),
    }
    return DatasetWriter(folder, env.contract.to_json(), provenance=provenance, resume=config.resume)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code."""
    return run_command(CollectConfig, _run_and_judge, PROGRAM, arguments)


def _run_and_judge(config: CollectConfig) -> int:
    if config.verify is None:
        return EPISODE_ERRORS if collect(config).errors else COMPLETE
    if config.output is not None:
        raise PlanError("expected either --output, to collect, or --verify, to check; got both")
    finding = verify_dataset(config.verify, progress=not config.quiet)
    Console(config.quiet, config.json).conclude(finding.rows(), lambda: asdict(finding))
    return EPISODE_ERRORS if finding.differences else COMPLETE


if __name__ == "__main__":
    sys.exit(main())
