"""Collects demonstrations: the rollout loop with a recorder, on seeds that no evaluation uses.

python -m eval.collect --env pick-place --episodes 500 --output data/pick_place
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from envs.interface import CAMERAS
from eval.assembly import build_environment, build_policy, environment_contract, environment_id
from eval.command import COMPLETE, EPISODE_ERRORS, create_folder, plan_text, run_command
from eval.demonstrator import Demonstrator
from eval.loop import rollout
from eval.observers.dataset import DatasetRecorder
from eval.observers.progress import Progress
from eval.plan import DEMONSTRATION_SEEDS, TEST_SEEDS, EpisodeSpec, PlanError, plan_episodes
from eval.provenance import checkpoint_digest
from eval.summary import Summary, format_summary, summarise
from simscaleai.data import DatasetWriter


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """Collect demonstrations of a task into a dataset for `simscaleai.train`."""

    output: Path
    """Folder for the dataset, new or empty."""
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
    """Episodes simulated side by side. Changes the speed, never the data."""
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
        return plan


def collect(config: CollectConfig) -> Summary:
    """Collect what `config` says, printing progress and result, and return how the episodes went.

    Raises:
        SimScaleError: If the configuration is mistaken.
    """
    plan = config.plan()
    env_id = environment_id(config.env)
    policy = build_policy(config.model, config.checkpoint, env_id)
    expert = build_policy(config.expert, None, env_id) if config.expert is not None else None
    num_envs = min(config.num_envs, len(plan))
    size = (config.image_size, config.image_size)
    offered = replace(environment_contract(env_id), cameras=config.cameras, image_size=size)
    env = build_environment(policy.contract, env_id, num_envs, offered=offered)
    create_folder(config.output)
    print(f"{config.model} in {env_id}: {plan_text(plan)}")
    print(f"{num_envs} at a time; dataset in {config.output}", flush=True)
    demonstrator = Demonstrator(policy, num_envs, noise=config.action_noise, expert=expert)
    provenance = {
        "policy": config.model,
        "checkpoint_digest": checkpoint_digest(policy),
        "expert": config.expert,
        "action_noise": config.action_noise,
        "seed": config.seed,
    }
    with DatasetWriter(config.output, env.contract.to_json(), provenance=provenance) as writer:
        recorder = DatasetRecorder(
            writer, demonstrator.labels, relabelled=expert is not None, keep_failures=config.keep_failures
        )
        try:
            results = rollout(env, demonstrator, plan, [recorder, Progress(len(plan))])
        except KeyboardInterrupt:
            print(f"{'dataset':<20} {config.output}: {len(writer.finished)} episodes so far", flush=True)
            raise
    summary = summarise(results, len(plan))
    print(format_summary(summary))
    print(f"{'discarded':<20} {recorder.discarded}/{len(plan)}   {100 * recorder.discarded / len(plan):.1f} %")
    print(f"{'dataset':<20} {config.output}: {len(plan) - recorder.discarded} episodes", flush=True)
    return summary


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code."""
    return run_command(CollectConfig, _collect_and_judge, "python -m eval.collect", arguments)


def _collect_and_judge(config: CollectConfig) -> int:
    return EPISODE_ERRORS if collect(config).errors else COMPLETE


if __name__ == "__main__":
    sys.exit(main())
