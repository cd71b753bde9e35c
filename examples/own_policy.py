"""Evaluates a policy of your own, from Python.

    python examples/own_policy.py [folder]

The policy moves straight to the goal that the state of Reach contains. A policy may also wrap the network of another
library.
"""

import sys
from pathlib import Path

import numpy as np

from envs import find_environment
from eval.episodes.plan import plan_episodes
from eval.execution.assembly import build_environment
from eval.rollout import RolloutConfig, rollout, run
from eval.runs.summary import summarise
from eval.terminal.figures import format_summary
from policies.base import EnvSpec, Policy, check_policy

METRES_PER_STEP = 0.025  # displacement of one control step at action 1


class GoStraight(Policy):
    """Moves the end effector straight towards the goal."""

    def __init__(self, spec: EnvSpec, speed: float = 1.0) -> None:
        """Act in an environment that offers `spec`. `--policy-option speed=0.5` sets the `speed`, from 0 to 1."""
        self.needs = spec.needs("state")  # not `environment_state`, which no robot knows
        self.speed = speed

    def predict(self, observation, slots):
        """Return chunks of one action, float32 (n, 1, 4)."""
        layout, state = self.needs.vectors["state"], observation["state"]
        way = layout.get(state, "goal_position") - layout.get(state, "ee_position")
        chunks = np.zeros((len(slots), 1, 4), dtype=np.float32)
        chunks[:, 0, :3] = np.clip(way / METRES_PER_STEP, -self.speed, self.speed)
        return chunks


def main(folder: Path) -> None:
    """Evaluate the policy twice: with the loop alone, and as a run that writes a record into `folder`."""
    reach = find_environment("reach")
    policy = GoStraight(reach.offer())
    check_policy(policy, reach.offer())
    env = build_environment(reach, [policy.needs], num_slots=8)
    results = rollout(env, policy, plan_episodes(50))
    print(format_summary(summarise(results, 50)))

    name = "examples.own_policy:GoStraight"  # as on the command line, so that the record can give the replay command
    record = run(RolloutConfig(model=name, env="reach", episodes=50, output=folder / "own_policy"))
    print(f"{record.summary.successes} of 50 in {folder}/own_policy")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs"))
