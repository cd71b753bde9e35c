"""What the checks of this folder share: a plain loop in another interpreter, and a run of ours."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.our_runs import our_command
from envs.foreign.suites import find_suite
from eval.runs.reading import read_run
from simscaleai.hosting.interpreters import installed_python

Row = dict[str, Any]
"""A row of a table: `episodes`, and in each column that begins with "equal" how many of them are equal."""
Found = dict[int, tuple[bool, int, float]]
"""Seed to success, number of steps, and return, which is rounded since packages may add up in any order."""

ROOT = Path(__file__).resolve().parents[2]
_DIGITS = 9


def is_equal(row: Row) -> bool:
    """Return whether all episodes are equal."""
    return all(value == row["episodes"] for name, value in row.items() if name.startswith("equal"))


def suite_python(name: str) -> Path:
    """Return the interpreter of an installed suite.

    Raises:
        SimScaleError: If it is not installed.
    """
    return installed_python(name, find_suite(name).lock)


def plain_answer(python: Path, code: str, *words: object, folder: Path | None = None) -> Any:
    """Run `code` with `words` in `folder`, and return its last line of output, read as JSON."""
    command = [str(python), "-c", code, *map(str, words)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the plain loop failed: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def plain_loop(python: Path, code: str, *words: object, folder: Path | None = None) -> Found:
    """Return what a plain loop finds, which prints [success, steps, return] of each seed as JSON."""
    answer = plain_answer(python, code, *words, folder=folder)
    return {int(seed): (won, steps, round(total, _DIGITS)) for seed, (won, steps, total) in answer.items()}


def our_run(words: Sequence[object], output: Path, folder: Path | None = None) -> Found:
    """Run `words` of `eval.rollout` in `folder`, and return what the run finds."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = our_command(*words, "--output", output)
    subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": path}, capture_output=True, check=True)
    return found_in(output)


def found_in(output: Path) -> Found:
    """Return what a run of ours has found."""
    results = read_run(output).results
    return {each.seed: (each.status == "success", each.steps, round(each.return_, _DIGITS)) for each in results}


def equal(one: Found, other: Found) -> int:
    """Return how many seeds have the same result in both."""
    return sum(one[seed] == other.get(seed) for seed in one)
