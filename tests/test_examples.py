"""The examples, as users start them."""

import os
import re
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
        done = read_run(tmp_path / run)
        assert done.successes >= 0.8 * len(done.results)
        assert len(done.results) == 50


@pytest.mark.slow
def test_an_agent_of_another_library_learns_on_the_dense_reward():
    """A shorter training than the example's own."""
    pytest.importorskip("stable_baselines3")
    words = [sys.executable, "examples/reinforcement_learning.py", "40000"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(re.search(r"success once +(\d+)/100 ", done.stdout)[1]) >= 90


@pytest.mark.slow
def test_an_agent_learns_by_hindsight_experience_replay(tmp_path):
    """Random actions succeed in 1 of 100 episodes."""
    pytest.importorskip("stable_baselines3")
    words = [sys.executable, "examples/goal_reaching.py", "8000", str(tmp_path / "agent.zip")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(re.search(r"success once +(\d+)/100 ", done.stdout)[1]) >= 90
    assert (tmp_path / "agent.zip").exists()
