"""Collects demonstrations: the rollout loop with a recorder, on seeds that no evaluation uses.

python -m eval.collect --env pick-place --episodes 500 --output data/pick_place
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.interface import CAMERAS, ObservationArrays
from eval.assembly import build_environment, build_policy, environment_contract, environment_id
from eval.command import COMPLETE, EPISODE_ERRORS, create_folder, plan_text, run_command
from eval.loop import rollout
from eval.observers.dataset import DatasetRecorder
from eval.observers.progress import Progress
from eval.plan import DEMONSTRATION_SEEDS, TEST_SEEDS, EpisodeSpec, PlanError, plan_episodes
from eval.summary import Summary, format_summary, summarise
from policies.base import Policy
from simscaleai.data import DatasetWriter

_NOISE_STREAM = 0x4E4F4953
"""Keeps the noise's stream apart from the environment's, which starts from the same episode seed."""


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
    """Who demonstrates; any --model of eval.rollout."""
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


class NoisyPolicy:
    """Perturbs what another policy does and remembers what it wanted.

    Gaussian noise is added to the displacement, then the action is clipped to [-1, 1]; the gripper is left alone, since
    a shaking grasp teaches nothing. Each episode's noise comes from its seed.

    Source: Laskey et al. 2017, DART: Noise Injection for Robust Imitation Learning.
    """

    def __init__(self, policy: Policy, scale: float, num_envs: int) -> None:
        """Wrap `policy`.

        Args:
            policy: The demonstrator.
            scale: Standard deviation of the noise, >= 0.
            num_envs: Number of slots N.
        """
        self.contract = policy.contract
        self.labels = np.zeros((num_envs, 4), dtype=np.float32)
        """What the demonstrator last wanted in each slot, shape (N, 4)."""
        self._policy, self._scale = policy, scale
        self._generators: dict[int, np.random.Generator] = {}

    def reset(self, env_ids: NDArray[np.intp], seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Prepare for new episodes in the slots `env_ids`."""
        self._policy.reset(env_ids, seeds, instructions)
        for slot, seed in zip(env_ids.tolist(), seeds, strict=True):
            self._generators[slot] = np.random.default_rng([seed, _NOISE_STREAM])

    def needs_observation(self, env_ids: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return what the demonstrator needs."""
        return self._policy.needs_observation(env_ids)

    def act(self, observation: ObservationArrays, env_ids: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the perturbed actions, shape (n, 4)."""
        self.labels[env_ids] = actions = self._policy.act(observation, env_ids)
        if self._scale == 0:
            return actions
        noise = np.zeros_like(actions)
        noise[:, :3] = [self._generators[slot].normal(0, self._scale, 3) for slot in env_ids.tolist()]
        sent: NDArray[np.float32] = np.clip(actions + noise, -1, 1)
        return sent


def collect(config: CollectConfig) -> Summary:
    """Collect what `config` says, printing progress and result, and return how the episodes went.

    Raises:
        SimScaleError: If the configuration is mistaken.
    """
    plan = config.plan()
    env_id = environment_id(config.env)
    demonstrator = build_policy(config.model, config.checkpoint, env_id)
    num_envs = min(config.num_envs, len(plan))
    size = (config.image_size, config.image_size)
    offered = replace(environment_contract(env_id), cameras=config.cameras, image_size=size)
    env = build_environment(demonstrator.contract, env_id, num_envs, offered=offered)
    create_folder(config.output)
    print(f"{config.model} in {env_id}: {plan_text(plan)}")
    print(f"{num_envs} at a time; dataset in {config.output}", flush=True)
    policy = NoisyPolicy(demonstrator, config.action_noise, num_envs)
    provenance = {"policy": config.model, "action_noise": config.action_noise, "seed": config.seed}
    with DatasetWriter(config.output, env.contract.to_json(), provenance=provenance) as writer:
        recorder = DatasetRecorder(writer, policy.labels, keep_failures=config.keep_failures)
        try:
            results = rollout(env, policy, plan, [recorder, Progress(len(plan))])
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
