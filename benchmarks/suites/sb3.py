"""FetchReach with an agent of Stable-Baselines3, which is trained first (SAC with hindsight; takes minutes)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.suites.plain import Row, equal, our_run, plain_loop
from simscaleai.errors import SimScaleError

STEPS, SEEDS = 8000, 50

AGENT = """
import functools, gymnasium as gym, gymnasium_robotics, json, sys
from stable_baselines3 import SAC, HerReplayBuffer

gym.register_envs(gymnasium_robotics)

def train(path, steps):
    env = gym.make("FetchReach-v4", max_episode_steps=50)
    agent = SAC("MultiInputPolicy", env, replay_buffer_class=HerReplayBuffer, seed=0, device="cpu", learning_starts=500)
    agent.learn(steps)
    agent.save(path)

@functools.lru_cache
def reach():
    return SAC.load("agent.zip", env=gym.make("FetchReach-v4"), device="cpu")

def plain_loop(seeds):
    agent, found = reach(), {}
    env = gym.make("FetchReach-v4").unwrapped
    for seed in range(seeds):
        observation, _ = env.reset(seed=seed)
        total = 0.0
        for step in range(50):
            action, _ = agent.predict(observation, deterministic=True)
            observation, reward, _, _, info = env.step(action)
            total += float(reward)
            if info["is_success"]:
                break
        found[seed] = [bool(info["is_success"]), step + 1, total]
    print(json.dumps(found))
"""

TRAIN = """
import sys
from fetch_agent import plain_loop, train

train("agent.zip", int(sys.argv[1]))
plain_loop(int(sys.argv[2]))
"""


def check(python: Path | None) -> Iterator[Row]:
    """Yield a row for one and for two workers: success, steps and return of every seed.

    Args:
        python: Interpreter with the packages of fetch in the versions of its lock file, and stable-baselines3.

    Raises:
        SimScaleError: If `python` is None.
    """
    if python is None:
        raise SimScaleError("expected --sb3-python with the packages of fetch and stable-baselines3, got none")
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "fetch_agent.py").write_text(AGENT)
        plain = plain_loop(python.absolute(), TRAIN, STEPS, SEEDS, folder=folder)
        flags = ["--model", "host:fetch_agent:reach", "--env", "fetch/reach", "--env-python", python.absolute()]
        for workers in (1, 2):
            words = [*flags, "--episodes", SEEDS, "--workers", workers]
            found = our_run(words, folder / f"run{workers}", folder)
            yield {
                "workers": workers,
                "episodes": SEEDS,
                "successes": sum(won for won, _, _ in plain.values()),
                "equal": equal(plain, found),
            }
