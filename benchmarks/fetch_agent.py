"""Release check: an agent of Stable-Baselines3 in FetchReach succeeds in our runs exactly as in a plain loop.

The interpreter needs gymnasium-robotics, MuJoCo and stable-baselines3 in the versions of envs/foreign/suites/fetch.txt.
Training takes minutes.

python -m benchmarks.fetch_agent --python peers/bin/python --output benchmarks/results/fetch_agent.csv
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.hosted_suites import found_in

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
        for step in range(50):
            action, _ = agent.predict(observation, deterministic=True)
            observation, _, _, _, info = env.step(action)
            if info["is_success"]:
                break
        found[seed] = [bool(info["is_success"]), step + 1]
    print(json.dumps(found))

if __name__ == "__main__":
    train("agent.zip", int(sys.argv[1]))
    plain_loop(int(sys.argv[2]))
"""


def main() -> int:
    """Train, compare, write a table, and return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/fetch_agent.csv"))
    arguments = parser.parse_args()
    python, output, home = arguments.python.absolute(), arguments.output.absolute(), Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "fetch_agent.py").write_text(AGENT)
        os.environ["PYTHONPATH"] = os.pathsep.join([name, str(home)])
        words = [python, "fetch_agent.py", str(arguments.steps), str(arguments.seeds)]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
        plain = {int(seed): tuple(each) for seed, each in json.loads(done.stdout.splitlines()[-1]).items()}
        rows: list[dict[str, object]] = []
        for workers in (1, 2):
            words = ["--model", "host:fetch_agent:reach", "--env", "fetch/reach", "--env-python", str(python)]
            words += ["--episodes", str(arguments.seeds), "--workers", str(workers), "--output", f"run{workers}"]
            subprocess.run([sys.executable, "-m", "eval.rollout", *words, "--quiet"], cwd=folder, check=True)
            ours = found_in(folder / f"run{workers}")
            rows.append({"workers": workers, "seeds": len(plain), "equal": sum(ours[s] == plain[s] for s in plain)})
            rows[-1]["successes"] = sum(won for won, _ in plain.values())
    with output.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    print(*rows, sep="\n")
    return 0 if all(row["equal"] == row["seeds"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
