"""One plan, run in every way there is: `episodes.jsonl` has the same bytes, whoever simulates and computes.

docs/guides/scale.md shows the cells as a table.
"""

import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from envs.registration import find_environment
from eval import merge, rollout
from tests.envs.foreign.hosted_worlds import write_world
from tests.eval.execution.ray_nodes import ROOT, running_cluster, starting
from tests.policies.foreign.stand_in import write_agent, write_library

SHAPE = ["--episodes", "8", "--quiet"]
REACH = ["--env", "reach", "--seed", "3000000500"]
HOSTED = ["--env", "hosted_world:World", "--success", "info:high", "--max-episode-steps", "12", "--seed", "30"]
LEARNED = ["bc", "vla-mlp", "vla-diffusion"]
RUNS = ["scripted", *LEARNED, "hosted environment", "hosted policy", "library policy", "served policy"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    with running_cluster(2, 1) as nodes:
        yield nodes


@pytest.fixture
def evaluate(tmp_path, monkeypatch):
    """Runs the command in this process with further flags; returns the bytes of its episodes."""
    monkeypatch.chdir(tmp_path)

    def run(flags, *further, output="run"):
        assert rollout.main([*flags, *further, "--output", output]) == 0
        return Path(output, "episodes.jsonl").read_bytes()

    return run


@pytest.fixture
def flags_of(tmp_path, monkeypatch, make_checkpoint):
    """Prepares one of RUNS; returns the flags that select its policy and its environment."""
    with ExitStack() as stack:

        def prepare(name):
            if name in LEARNED:
                return ["--model", str(make_checkpoint(name)), *REACH, *SHAPE]
            if name.startswith("hosted"):
                write_world(tmp_path, monkeypatch)
                monkeypatch.delenv("SIMSCALE_ENV_PYTHON")
                model = "random" if name == "hosted environment" else "host:hosted_world:Half"
                return ["--model", model, *HOSTED, "--env-python", sys.executable, *SHAPE]
            if name == "library policy":
                return ["--model", *_library(tmp_path, monkeypatch), *REACH, *SHAPE]
            if name == "served policy":
                monkeypatch.setenv("SIMSCALE_API_KEY", "a key that workers need, too")
                return ["--model", stack.enter_context(_serving(make_checkpoint("bc"))), *REACH, *SHAPE]
            return ["--model", name, *REACH, *SHAPE]

        yield prepare


def _library(folder, monkeypatch):
    """Make an agent of a library that hosts load; return its name and its options."""
    write_library(folder)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{ROOT}")
    spec = find_environment("reach").offer()
    write_agent("agent.zip", observation=(-9, 9, (spec.vectors["state"].size,)), action=(-1, 1, (spec.action.size,)))
    return ["sb3:agent.zip", "--policy-option", f"python={sys.executable}"]


@contextmanager
def _serving(checkpoint):
    """Serve a checkpoint; yield the address."""
    command = [sys.executable, "-m", "policies.serve", "--model", str(checkpoint), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process, ExitStack() as stack:
        stack.callback(process.kill)
        yield next(word for line in process.stdout for word in line.split() if word.startswith("ws://")).rstrip(";")


def _merged(evaluate, flags, shards):
    folders = [f"shard-{number}" for number in range(1, shards + 1)]
    for number, folder in enumerate(folders, start=1):
        evaluate(flags, "--shard", f"{number}/{shards}", output=folder)
    assert merge.main([*folders, "--output", "whole", "--quiet"]) == 0
    return Path("whole", "episodes.jsonl").read_bytes()


def _on_ray(cluster, flags, *further):
    with starting(cluster) as start:
        assert start(*flags, *further, "--workers", "3", "--num-envs", "2", "--output", "ray").wait(600) == 0
    return Path("ray", "episodes.jsonl").read_bytes()


@pytest.mark.parametrize("run", RUNS)
def test_processes(evaluate, flags_of, run):
    flags = flags_of(run)
    expected = evaluate(flags, "--num-envs", "3")
    assert expected.count(b"\n") == 8
    assert evaluate(flags, "--workers", "2", "--num-envs", "2", output="processes") == expected


@pytest.mark.parametrize("shards", [1, 3, 8])
@pytest.mark.parametrize("run", RUNS)
def test_merged_shards(evaluate, flags_of, run, shards):
    flags = flags_of(run)
    assert _merged(evaluate, flags, shards) == evaluate(flags)


@pytest.mark.parametrize("run", RUNS)
def test_ray(cluster, evaluate, flags_of, run):
    flags = flags_of(run)
    assert _on_ray(cluster, flags) == evaluate(flags)


@pytest.mark.parametrize("run", LEARNED)
def test_inference_process(evaluate, flags_of, run):
    flags = flags_of(run)
    expected = evaluate(flags)
    assert evaluate(flags, "--workers", "2", "--num-envs", "2", "--device", "cpu", output="inference") == expected


@pytest.mark.parametrize("run", LEARNED)
def test_an_inference_process_on_each_machine_of_a_cluster(cluster, evaluate, flags_of, run):
    flags = flags_of(run)
    assert _on_ray(cluster, flags, "--device", "cpu") == evaluate(flags)
