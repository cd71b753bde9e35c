"""The examples, as users start them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eval.runs.reading import read_run

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "runs"), [("own_policy", ["own_policy"]), ("learn_reach", ["expert", "learned"])])
def test_an_example_works_and_its_policies_succeed(tmp_path, name, runs):
    words, environment = [sys.executable, f"examples/{name}.py", str(tmp_path)], os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for run in runs:
        successes = read_run(tmp_path / run).successes
        assert sum(successes.values()) >= 0.8 * len(successes)
        assert len(successes) == 50
