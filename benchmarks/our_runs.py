"""Runs that benchmarks start as commands, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path


def our_command(*words: object) -> list[str]:
    """Return the command of a run."""
    return [sys.executable, "-m", "eval.rollout", *map(str, words), "--quiet"]


def wait_for_episodes(output: Path, count: int, run: subprocess.Popen[bytes]) -> int:
    """Wait until the run in `output` has finished `count` episodes, and return how many it has finished.

    Raises:
        RuntimeError: If the run ends earlier.
    """
    log = output / "episodes.jsonl"
    while run.poll() is None:
        done = log.read_bytes().count(b"\n") if log.exists() else 0
        if done >= count:
            return done
        time.sleep(0.02)
    raise RuntimeError(f"expected a run of more than {count} episodes, it ended before them; use more episodes")
