"""Evaluates a policy of one's own, from Python.

    python examples/own_policy.py [folder]

It heads for the goal that the state of Reach names. Anything with these members may be evaluated, also around another
library's network.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from eval.assembly import build_environment, environment_contract
from eval.plan import plan_episodes
from eval.rollout import RolloutConfig, rollout, run
from eval.summary import format_summary, summarise

REACH = "SimScale/Reach-v0"
METRES_PER_STEP = 0.025  # what an action of 1 is worth


class GoStraight:
    """Moves the end effector towards the goal, as far as one step goes."""

    def __init__(self, environment):
        # Requiring no more than it uses: a policy that reads `environment_state` says that it was told the truth.
        self.contract = replace(environment, environment_state=None)

    def reset(self, env_ids, seeds, instructions):
        """Would clear the memory of the slots `env_ids`; there is none."""

    def needs_observation(self, env_ids):
        """Return that no images are wanted."""
        return np.zeros(len(env_ids), dtype=bool)

    def act(self, observation, env_ids):
        """Return one action for each running slot, (n, 4)."""
        layout, state = self.contract.state, observation["state"]
        way = layout.get(state, "goal_position") - layout.get(state, "ee_position")
        actions = np.zeros((len(env_ids), 4), dtype=np.float32)
        actions[:, :3] = np.clip(way / METRES_PER_STEP, -1, 1)
        return actions


def main(folder: Path) -> None:
    """Evaluate it twice: with the loop alone, and as a run that leaves a record in `folder`."""
    policy = GoStraight(environment_contract(REACH))
    env = build_environment(policy.contract, REACH, num_envs=8)
    results = rollout(env, policy, plan_episodes(50))
    print(format_summary(summarise(results, 50)))

    name = "examples.own_policy:GoStraight"  # as the command line names it: its record says how to run it again
    record = run(RolloutConfig(model=name, env="reach", episodes=50, output=folder / "own_policy"))
    print(f"{record.summary['successes']} of 50 in {folder}/own_policy")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs"))
