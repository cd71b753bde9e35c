"""Trains SAC with Hindsight Experience Replay on the goal-conditioned Reach, and evaluates the agent, in minutes.

    pip install stable-baselines3
    python examples/goal_reaching.py [steps] [FILE.zip]

The reward is 0 at success and -1 elsewhere. An agent without skill hardly ever sees a 0, so HER replays the episodes as
if the point that was reached had been the goal. The networks get the way to the goal, in steps of the hand: after 8,000
steps the agent succeeds in 100 of 100 episodes. With both positions in metres instead, it succeeded in 50. With
FILE.zip, the agent is saved, and the command evaluates it:

    python -m eval.rollout --model sb3:FILE.zip --env reach-goal --episodes 100 --output runs/her
"""

import sys

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import SAC, HerReplayBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from envs import find_environment
from eval.episodes.plan import plan_episodes
from eval.execution.assembly import build_environment
from eval.rollout import rollout
from eval.runs.summary import summarise
from eval.terminal.figures import format_summary
from policies.base import EnvSpec, Policy, check_policy

EPISODES = 100
STEP = 0.025
"""Longest way of the hand in one control step [m]."""
KEYS = ("observation", "achieved_goal", "desired_goal")


class Features(BaseFeaturesExtractor):
    """Gives the networks the observation and the way to the goal."""

    def __init__(self, space: gym.spaces.Dict) -> None:
        """Read observations of `space`."""
        super().__init__(space, space["observation"].shape[0] + space["desired_goal"].shape[0])

    def forward(self, rows: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return (n, features)."""
        way = (rows["desired_goal"] - rows["achieved_goal"]) / STEP
        return torch.cat([rows["observation"], way], dim=1)


class Agent(Policy):
    """Asks an agent of Stable-Baselines3, which sees the observation and both goals."""

    def __init__(self, spec: EnvSpec, agent: SAC) -> None:
        """Act in an environment that offers `spec`."""
        self.needs, self.agent = spec.needs(*KEYS), agent

    def predict(self, observation, slots):
        """Return chunks of one action, float32 (n, 1, 4). Each row is computed alone, so it depends on no other row."""
        rows = [{key: observation[key][row] for key in KEYS} for row in range(len(slots))]
        return np.stack([self.agent.predict(row, deterministic=True)[0] for row in rows])[:, None]


def train(steps: int) -> SAC:
    """Train an agent for `steps` control steps. Episodes go on after a success, so the agent learns to stay."""
    torch.set_num_threads(1)  # the networks are too small for more
    environments = make_vec_env(
        "envs:SimScale/ReachGoal-v0", n_envs=4, seed=0, env_kwargs={"terminate_on_success": False}
    )
    agent = SAC(
        "MultiInputPolicy",
        environments,
        replay_buffer_class=HerReplayBuffer,
        learning_rate=1e-3,
        learning_starts=1000,
        batch_size=256,
        gamma=0.95,
        gradient_steps=-1,  # as many as there were steps
        ent_coef="auto_0.1",
        policy_kwargs={"features_extractor_class": Features},
        seed=0,
        device="cpu",
    )
    return agent.learn(steps)


def main(steps: int, file: str = "") -> None:
    """Train, save, and evaluate with the harness."""
    agent, reach = train(steps), find_environment("reach-goal")
    if file:
        agent.save(file)
    policy = Agent(reach.offer(), agent)
    check_policy(policy, reach.offer())
    results = rollout(build_environment(reach, [policy.needs], num_slots=8), policy, plan_episodes(EPISODES))
    print(format_summary(summarise(results, EPISODES)))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8_000, *sys.argv[2:3])
