"""Trains PPO of Stable-Baselines3 on the dense reward of Reach, and evaluates the agent, in two minutes.

    pip install stable-baselines3
    python examples/reinforcement_learning.py [steps]

`envs.tabletop.tasks.task.Task.progress` says what the dense reward is and why success pays most.
"""

import sys

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from envs import find_environment
from eval.episodes.plan import plan_episodes
from eval.execution.assembly import build_environment
from eval.rollout import rollout
from eval.runs.summary import summarise
from eval.terminal.figures import format_summary
from policies.base import EnvSpec, Policy, check_policy

EPISODES = 100


class Agent(Policy):
    """Asks an agent of Stable-Baselines3, which sees the state as it was normalised in training."""

    def __init__(self, spec: EnvSpec, agent: PPO, normalised: VecNormalize) -> None:
        """Act in an environment that offers `spec`."""
        self.needs = spec.needs("state")
        self.agent, self.normalised = agent, normalised

    def predict(self, observation, slots):
        """Return chunks of one action, float32 (n, 1, 4). Each row is computed alone, so it depends on no other row."""
        rows = [self.normalised.normalize_obs(row) for row in observation["state"]]
        return np.stack([self.agent.predict(row, deterministic=True)[0] for row in rows])[:, None]


def train(steps: int) -> tuple[PPO, VecNormalize]:
    """Train an agent for at least `steps` control steps; return it with the normalisation of its observations."""
    torch.set_num_threads(1)  # the networks are too small for more
    environments = make_vec_env(
        "envs:SimScale/Reach-v0",
        n_envs=8,
        seed=0,
        env_kwargs={"reward": "dense"},
        wrapper_class=gym.wrappers.FlattenObservation,
    )
    normalised = VecNormalize(environments, norm_reward=False)
    agent = PPO(
        "MlpPolicy",
        normalised,
        learning_rate=1e-3,
        n_steps=256,
        batch_size=256,
        gamma=0.95,
        policy_kwargs={"log_std_init": -0.5},
        seed=0,
        device="cpu",
    )
    return agent.learn(steps), normalised


def main(steps: int) -> None:
    """Train, and evaluate with the sparse reward, which alone says what a success is."""
    reach = find_environment("reach")
    policy = Agent(reach.offer(), *train(steps))
    check_policy(policy, reach.offer())
    results = rollout(build_environment(reach, [policy.needs], num_slots=8), policy, plan_episodes(EPISODES))
    print(format_summary(summarise(results, EPISODES)))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60_000)
