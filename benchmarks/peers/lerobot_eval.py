"""Release check: a LeRobot policy succeeds in `lerobot-eval`, through our plugin, exactly as in our runs.

The interpreter needs lerobot, this package and integrations/lerobot_env_simscale. The policy is a checkpoint folder of
lerobot-train.

python -m benchmarks.peers.lerobot_eval --python lerobot-venv/bin/python --policy act/checkpoints/last/pretrained_model
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.our_runs import our_command
from benchmarks.tables import write_csv
from eval.runs.reading import read_run

Found = dict[int, tuple[bool, float]]
"""Seed to success and return."""


def image_size(policy: Path) -> tuple[int, int]:
    """Return height and width of the images that the policy was trained on, the same for all cameras [px]."""
    inputs = json.loads((policy / "config.json").read_text())["input_features"].values()
    ((_, height, width),) = {tuple(each["shape"]) for each in inputs if each["type"] == "VISUAL"}
    return height, width


def their_run(python: Path, policy: Path, env: str, seeds: range, output: Path) -> Found:
    """Return what `lerobot-eval` finds with one environment at a time."""
    words = [f"--policy.path={policy}", "--policy.device=cpu", "--env.type=simscale", f"--env.task={env}"]
    words += [
        f"--eval.n_episodes={len(seeds)}",
        "--eval.batch_size=1",
        f"--seed={seeds.start}",
        f"--output_dir={output}",
    ]
    height, width = image_size(policy)  # LeRobot would run a policy on images of another size without a word
    words += [f"--env.observation_height={height}", f"--env.observation_width={width}"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run([python, "-m", "lerobot.scripts.lerobot_eval", *words], env=environment, check=True)
    (task,) = json.loads((output / "eval_info.json").read_text())["per_task"]
    found = zip(task["metrics"]["successes"], task["metrics"]["sum_rewards"], strict=True)
    return dict(zip(seeds, found, strict=True))


def our_run(python: Path, policy: Path, env: str, seeds: range, output: Path) -> Found:
    """Return what our run finds, with the policy in LeRobot's interpreter."""
    words = ["--model", f"lerobot:{policy}", "--env", env, "--episodes", str(len(seeds)), "--seed", str(seeds.start)]
    words += ["--policy-option", f"python={python}", "--output", str(output)]
    subprocess.run(our_command(*words), check=True)
    return {each.seed: (each.status == "success", each.return_) for each in read_run(output).results}


def main() -> int:
    """Run both, write a table, and return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--policy", type=Path, required=True)
    parser.add_argument("--env", default="pick-place")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/lerobot_eval.csv"))
    arguments = parser.parse_args()
    seeds = range(arguments.seed, arguments.seed + arguments.seeds)
    named = (arguments.python.absolute(), arguments.policy.absolute(), arguments.env, seeds)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        theirs = their_run(*named, Path(folder) / "theirs")
        between = time.perf_counter()
        ours = our_run(*named, Path(folder) / "ours")
        end = time.perf_counter()
    row = {
        "env": arguments.env,
        "first_seed": seeds.start,
        "seeds": len(seeds),
        "successes_lerobot_eval": sum(won for won, _ in theirs.values()),
        "successes_ours": sum(won for won, _ in ours.values()),
        "equal_successes": sum(ours[seed][0] == theirs[seed][0] for seed in seeds),
        "equal_returns": sum(ours[seed][1] == theirs[seed][1] for seed in seeds),
        "lerobot_eval_s": round(between - begin, 1),
        "ours_s": round(end - between, 1),
    }
    write_csv(arguments.output, [row])
    print(row)
    return 0 if ours == theirs else 1


if __name__ == "__main__":
    sys.exit(main())
