"""PushT and Fetch with scripted actions that depend on the seed and on what is observed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.suites.plain import Row, equal, our_run, plain_loop, suite_python

SEEDS = 50

POLICIES = """
import numpy as np

class Push:
    # goes to random places around the block
    def reset(self, seed, instruction):
        self.rng, self.steps = np.random.default_rng(seed), 0

    def act(self, observation):
        if self.steps % 8 == 0:
            self.offset = self.rng.uniform(-80, 80, 2)
        self.steps += 1
        return np.clip(observation["environment_state"][2:4] + self.offset, 0, 512)

class Drift:
    # pulls towards the goal what shall be there, with noise
    def reset(self, seed, instruction):
        self.rng = np.random.default_rng(seed)

    def act(self, observation):
        pull = 4 * (observation["desired_goal"] - observation["achieved_goal"])
        return np.clip([*(pull + self.rng.normal(0, 0.6, 3)), self.rng.uniform(-1, 1)], -1, 1)
"""

PUSHT_LOOP = """
import gymnasium, gym_pusht, json, sys
import numpy as np
from policies_of_check import Push

env, found = gymnasium.make("gym_pusht/PushT-v0", obs_type="state", max_episode_steps=300), {}
for seed in range(int(sys.argv[1])):
    state, _ = env.reset(seed=seed)
    policy, steps, total, ended = Push(), 0, 0.0, False
    policy.reset(seed, "")
    while not ended:
        action = np.asarray(policy.act({"environment_state": state}), np.float32)
        state, reward, terminated, truncated, info = env.step(action)
        steps, total, ended = steps + 1, total + float(reward), bool(info["is_success"] or terminated or truncated)
    found[seed] = [bool(info["is_success"]), steps, total]
print(json.dumps(found))
"""

FETCH_LOOP = """
import gymnasium, gymnasium_robotics, json, sys
import numpy as np
from policies_of_check import Drift

gymnasium.register_envs(gymnasium_robotics)
env, found = gymnasium.make(sys.argv[2], max_episode_steps=50), {}
for seed in range(int(sys.argv[1])):
    observation, _ = env.reset(seed=seed)
    policy, steps, total, ended = Drift(), 0, 0.0, False
    policy.reset(seed, "")
    while not ended:
        action = np.asarray(policy.act(observation), np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        steps, total, ended = steps + 1, total + float(reward), bool(info["is_success"] or terminated or truncated)
    found[seed] = [bool(info["is_success"]), steps, total]
print(json.dumps(found))
"""

WORLDS = {
    "pusht": ("Push", PUSHT_LOOP, ()),
    "fetch/reach": ("Drift", FETCH_LOOP, ("FetchReach-v4",)),
    "fetch/push": ("Drift", FETCH_LOOP, ("FetchPush-v4",)),
    "fetch/slide": ("Drift", FETCH_LOOP, ("FetchSlide-v4",)),
    "fetch/pick-and-place": ("Drift", FETCH_LOOP, ("FetchPickAndPlace-v4",)),
}
"""Name of each environment, with its policy, its plain loop, and arguments of that."""


def check() -> Iterator[Row]:
    """Yield a row for each environment: success, steps and return of every seed.

    Raises:
        SimScaleError: If a suite is not installed.
    """
    for name, (policy, loop, words) in WORLDS.items():
        python = suite_python(name.partition("/")[0])
        with tempfile.TemporaryDirectory() as text:
            folder = Path(text)
            (folder / "policies_of_check.py").write_text(POLICIES)
            plain = plain_loop(python, loop, SEEDS, *words, folder=folder)
            flags = ["--model", f"host:policies_of_check:{policy}", "--env", name, "--episodes", SEEDS]
            ours = [our_run([*flags, "--workers", n], folder / f"run{n}", folder) for n in (1, 2)]
        yield {
            "environment": name,
            "episodes": SEEDS,
            "successes": sum(won for won, _, _ in plain.values()),
            "returns": len({total for _, _, total in plain.values()}),
            **{f"equal_{n}_workers": equal(plain, found) for n, found in enumerate(ours, 1)},
        }
