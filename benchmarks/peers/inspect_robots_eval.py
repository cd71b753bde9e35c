"""Release check: our policies succeed under inspect-robots, through our plugin, exactly as in our runs.

The interpreter needs inspect-robots, this package and integrations/inspect_robots_simscale. For each pair of
environment and policy, success and number of steps of every seed must be equal.

python -m benchmarks.peers.inspect_robots_eval --python inspect-venv/bin/python
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.our_runs import our_command
from benchmarks.tables import write_csv
from eval.runs.reading import read_run

Found = dict[int, tuple[bool, int]]
"""Seed to success and number of steps."""

PAIRS = (
    ("reach", "bc"),
    ("reach", "random"),
    ("pick-place", "bc-pick-place-image"),
    ("pick-place", "vla"),
    ("pick-place", "vla-pick-place-diffusion"),
    ("pick-place-language", "vla"),
)


def their_run(python: Path, env: str, model: str, seeds: int, output: Path) -> Found:
    """Return what the command of inspect-robots finds."""
    words = ["run", "--no-prompt", "--log-dir", str(output), "--task", "simscale", "-T", f"env={env}"]
    words += ["-T", f"episodes={seeds}", "--embodiment", "simscale", "-E", f"env={env}"]
    words += ["--policy", "simscale", "-P", f"env={env}", "-P", f"model={model}"]
    subprocess.run([python.parent / "inspect-robots", *words], check=True, cwd=output.parent)
    (log,) = output.glob("*.json")
    scenes = {
        int(each["scene_id"].removeprefix("seed-")): each["reduced"] for each in json.loads(log.read_text())["samples"]
    }
    return {seed: (found["success_at_end"] == 1, int(found["episode_length"])) for seed, found in scenes.items()}


def our_run(env: str, model: str, seeds: int, output: Path) -> Found:
    """Return what our run finds."""
    command = our_command("--model", model, "--env", env, "--episodes", seeds, "--output", output)
    subprocess.run(command, check=True)
    return {each.seed: (each.status == "success", each.steps) for each in read_run(output).results}


def main() -> int:
    """Compare all pairs, write the table, and return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/inspect_robots_eval.csv"))
    arguments = parser.parse_args()
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        for env, model in PAIRS:
            folder = Path(name) / f"{env}-{model}"
            folder.mkdir()
            theirs = their_run(arguments.python.absolute(), env, model, arguments.seeds, folder / "logs")
            ours = our_run(env, model, arguments.seeds, folder / "run")
            equal = sum(ours[seed] == theirs.get(seed) for seed in ours)
            successes = sum(won for won, _ in theirs.values())
            rows.append({"env": env, "model": model, "seeds": arguments.seeds, "successes": successes, "equal": equal})
            print(rows[-1], flush=True)
    write_csv(arguments.output, rows)
    return 0 if all(row["equal"] == row["seeds"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
