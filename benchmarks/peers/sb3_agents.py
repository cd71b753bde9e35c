"""Release check: agents of Stable-Baselines3 succeed in our runs exactly as in a plain loop in their own interpreter.

Needs `python -m policies install sb3`. Trains SAC, and PPO on normalised observations, in Pendulum (minutes). Each acts
deterministically, and with noise that the seed of the episode gives. Runs: one worker, two workers, and one whose
policy host is killed (kill -9) in the middle.

python -m benchmarks.peers.sb3_agents --output benchmarks/results/sb3_agents.csv
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from benchmarks.our_runs import our_command, wait_for_episodes
from benchmarks.tables import write_csv
from eval.runs.reading import read_run
from policies.foreign.libraries import find_library
from policies.foreign.remote import HOST
from simscaleai.hosting.interpreters import installed_python

THEIRS = """
import json, pickle, random, sys
import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

torch.set_num_threads(1)

def train(steps):
    SAC("MlpPolicy", gym.make("Pendulum-v1"), seed=0, device="cpu", learning_starts=200).learn(steps).save("SAC.zip")
    normalised = VecNormalize(make_vec_env("Pendulum-v1", n_envs=4, seed=0), norm_reward=True)
    PPO("MlpPolicy", normalised, seed=0, device="cpu", n_steps=256, gamma=0.95).learn(10 * steps).save("PPO.zip")
    normalised.save("PPO.pkl")

def loop(name, deterministic, seeds):
    agent = {"SAC": SAC, "PPO": PPO}[name].load(name, device="cpu")
    normalised = pickle.load(open("PPO.pkl", "rb")) if name == "PPO" else None
    env, found = gym.make("Pendulum-v1").unwrapped, {}
    for seed in range(seeds):
        random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
        observation, _ = env.reset(seed=seed)
        total = 0.0
        for _ in range(200):
            seen = observation if normalised is None else normalised.normalize_obs(observation)
            action, _ = agent.predict(seen, deterministic=deterministic)
            observation, reward, *_ = env.step(action)
            total += float(reward)
        found[seed] = [total >= -200, total]
    print(json.dumps(found))

if sys.argv[1] == "train":
    train(int(sys.argv[2]))
else:
    loop(sys.argv[2], sys.argv[3] == "true", int(sys.argv[4]))
"""
Found = dict[int, tuple[bool, float]]
"""Seed to success and return."""


def plain_loop(python: Path, folder: Path, *words: object) -> str:
    """Run the script of the library's side in `folder` and return what it prints."""
    (folder / "theirs.py").write_text(THEIRS)
    command = ["env", "OMP_NUM_THREADS=1", str(python), "theirs.py", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def our_run(folder: Path, name: str, deterministic: str, seeds: int, workers: int, *, kill: bool) -> Found:
    """Return what our run finds; `kill` ends the host of the policy after a few episodes."""
    output = folder / f"{name}-{deterministic}-{workers}{'-killed' * kill}"
    words = ["--model", f"sb3:{folder / name}.zip", "--env", "gym:Pendulum-v1", "--success", "return>=-200"]
    words += ["--episodes", str(seeds), "--workers", str(workers), "--output", str(output)]
    words += ["--policy-option", f"deterministic={deterministic}"]
    words += [f"vec_normalize={folder / name}.pkl"] * (name == "PPO")
    with subprocess.Popen(our_command(*words)) as run:
        if kill:
            wait_for_episodes(output, seeds // 4, run)
            kill_host(run.pid)
    if run.returncode:
        raise RuntimeError(f"the run of {name} ended with exit code {run.returncode}")
    return {each.seed: (each.status == "success", each.return_) for each in read_run(output).results}


def kill_host(parent: int) -> None:
    """Kill the host that the process `parent` has started."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes().split(b"\0")
            if (
                os.fsencode(HOST) in command
                and int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent
            ):
                os.kill(int(folder.name), signal.SIGKILL)
                return
    raise RuntimeError("there was no host to kill")


def check(python: Path, folder: Path, name: str, deterministic: str, seeds: int) -> dict[str, object]:
    """Compare one agent and return a row of the table."""
    printed = json.loads(plain_loop(python, folder, "loop", name, deterministic, seeds).splitlines()[-1])
    plain: Found = {int(seed): (won, total) for seed, (won, total) in printed.items()}
    row: dict[str, object] = {"agent": name, "deterministic": deterministic, "seeds": seeds}
    row["successes"] = sum(won for won, _ in plain.values())
    for column, workers, kill in (("1_worker", 1, False), ("2_workers", 2, False), ("host_killed", 1, True)):
        found = our_run(folder, name, deterministic, seeds, workers, kill=kill)
        row[f"equal_{column}"] = sum(found[seed] == plain[seed] for seed in plain)
    return row


def main() -> int:
    """Train, compare, write the table, and return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/sb3_agents.csv"))
    arguments = parser.parse_args()
    library, rows = find_library("sb3"), []
    python = installed_python(library.name, library.lock)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain_loop(python, folder, "train", arguments.steps)
        for agent in ("SAC", "PPO"):
            for deterministic in ("true", "false"):
                rows.append(check(python, folder, agent, deterministic, arguments.seeds))
                print(rows[-1], flush=True)
    write_csv(arguments.output, rows)
    return int(any(value != arguments.seeds for row in rows for key, value in row.items() if key.startswith("equal")))


if __name__ == "__main__":
    sys.exit(main())
