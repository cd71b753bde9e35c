"""Shows that two checkouts compute the same bytes: episodes, demonstrations and trained weights.

    git worktree add /tmp/before 8faaa2b
    python -m benchmarks.same_bytes /tmp/before . --folder /tmp/same_bytes

Both checkouts run the same commands with the interpreter of this process. The comparison covers every
`episodes.jsonl`, every episode file of the dataset, and the trained weights. Records (`run.json`, `dataset.json`,
`config.json`) are not compared, since their schema may change. Jobs that have finished are not run again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from pathlib import Path

_ENVIRONMENTS = ("reach", "pick-place", "pick-place-language")
_CHECKPOINTS = {
    "bc-reach": ("reach",),
    "bc-pick-place": ("pick-place",),
    "bc-pick-place-image": ("pick-place",),
    "vla-pick-place": ("pick-place", "pick-place-language"),
    "vla-pick-place-diffusion": ("pick-place", "pick-place-language"),
}
_COMPARED = ("**/episodes.jsonl", "**/episode_*.safetensors", "**/model.safetensors")


def _jobs() -> dict[str, list[str]]:
    """Return the command of each job, without its output folder, by the name of the job."""
    rollout = ["eval.rollout", "--quiet"]
    jobs = {
        f"scripted-{env}": [*rollout, "--model", "scripted", "--env", env, "--episodes", "300"] for env in _ENVIRONMENTS
    }
    for name, environments in _CHECKPOINTS.items():
        for env in environments:
            jobs[f"{name}-{env}"] = [*rollout, "--model", name, "--env", env, "--episodes", "200"]
    collect = ["eval.collect", "--quiet", "--env", "pick-place", "--episodes", "50", "--image-size", "64"]
    jobs["dataset"] = [*collect, "--action-noise", "0.15"]
    train = ["simscaleai.train", "--model", "vla", "--preset", "debug", "--action-horizon", "4", "--steps", "20"]
    jobs["checkpoint"] = [
        *train,
        "--batch-size",
        "8",
        "--auxiliary-weight",
        "1",
        "--threads",
        "1",
        "--dataset",
        "dataset",
    ]
    return jobs


def _run_jobs(checkout: Path, folder: Path) -> None:
    """Run every job of `checkout` that has not finished in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    for name, command in _jobs().items():
        done = folder / f"{name}.done"
        if done.exists():
            continue
        print(f"{checkout}: {name}", file=sys.stderr, flush=True)
        words = [sys.executable, "-P", "-m", *command, "--output", name]
        subprocess.run(words, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        done.touch()


def _digests(folder: Path) -> dict[str, str]:
    paths = sorted(path for pattern in _COMPARED for path in folder.glob(pattern))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def main() -> int:
    """Run the jobs of both checkouts and print the differing files; return 1 if a file differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="the earlier checkout")
    parser.add_argument("after", type=Path, help="the later checkout")
    parser.add_argument("--folder", type=Path, required=True, help="folder for the outputs of both checkouts")
    options = parser.parse_args()
    for side in ("before", "after"):
        _run_jobs(getattr(options, side).resolve(), options.folder.resolve() / side)
    before, after = (_digests(options.folder / side) for side in ("before", "after"))
    different = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    for name in different:
        print(f"differs: {name}")
    print(f"{len(before) - len(different)} of {len(before)} files are equal")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
