"""Runs in environments of another interpreter: faults cost an episode a retry, and workers change nothing."""

import sys
from pathlib import Path

import pytest

from eval.collect import main as collect
from eval.rollout import main as rollout
from eval.runs.reading import read_run
from tests.envs.foreign.hosted_worlds import NAME, write_world

ENV = ["--env", "hosted_world:World", "--success", "info:high", "--max-episode-steps", "12"]


@pytest.fixture(autouse=True)
def world(tmp_path, monkeypatch):
    write_world(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)


def results(folder):
    return [(each.seed, each.status, each.failure, each.digest) for each in read_run(Path(folder)).results]


def run(output, *flags, env=ENV):
    arguments = ["--model", "host:hosted_world:Half", *env, "--env-python", sys.executable, "--output", output]
    return rollout([*arguments, *map(str, flags), "--quiet"])


@pytest.mark.parametrize(
    ("trouble", "timeout"),
    [
        pytest.param(13, 600, id="raises"),
        pytest.param(14, 600, id="exits"),
        pytest.param(15, 20, id="hangs", marks=pytest.mark.slow),  # long enough for the start of a host
    ],
)
def test_a_fault_that_happens_once_costs_a_retry(tmp_path, trouble, timeout):
    (tmp_path / "marks").mkdir()
    marked = [*ENV, "--env-option", f"marks={tmp_path / 'marks'}"]
    assert run("troubled", "--seeds", 12, 17, trouble, "--timeout", timeout, env=marked) == 0
    assert [each[:3] for each in results("troubled")] == [(seed, "success", None) for seed in (12, 17, trouble)]
    assert (tmp_path / "marks" / str(trouble)).exists()


def test_a_fault_that_repeats_is_an_error_and_a_policy_that_raises_a_failure(tmp_path):
    assert run("errors", "--seeds", 12, 13, 14, 20) == 1
    assert [each[1:3] for each in results("errors")] == [
        ("success", None),
        ("error", "environment_exception"),
        ("error", "environment_exception"),
        ("failure", "policy_exception"),
    ]


@pytest.mark.slow
def test_workers_change_nothing():
    assert run("one", "--episodes", 6) == 0
    assert run("two", "--episodes", 6, "--workers", 2) == 0
    assert results("one") == results("two")


def test_collect_records_what_a_hosted_policy_does_but_it_cannot_label(capsys):
    flags = [*ENV, "--model", "host:hosted_world:Half", "--output", "data", "--episodes", "3", "--quiet"]
    assert collect(flags) == 0
    assert collect(["--verify", "data", "--quiet"]) == 0
    assert collect([*flags[:-4], "other", *flags[-3:], "--expert", "host:hosted_world:Half"]) == 2
    assert "not label" in capsys.readouterr().err


def test_a_run_is_not_resumed_with_an_edited_policy(capsys, tmp_path):
    (tmp_path / "wire.py").write_text("from identity import WIDTH\ndef still():\n    return lambda seen: [WIDTH]\n")
    (tmp_path / "identity.py").write_text("WIDTH = 0.5\n")  # both names are also those of files of the host
    command = ["--model", "host:wire:still", *ENV, "--env-python", sys.executable, "--output", "run", "--quiet"]
    assert rollout([*command, "--episodes", "2"]) == 0
    assert rollout([*command, "--episodes", "2", "--resume"]) == 0
    (tmp_path / "identity.py").write_text("WIDTH = 0.4\n")
    assert rollout([*command, "--episodes", "2", "--resume"]) == 2
    assert "identity" in capsys.readouterr().err


def test_a_hosted_policy_that_cannot_be_loaded(capsys, tmp_path):
    (tmp_path / "broken_hands.py").write_text("raise RuntimeError('no weights')\n")
    for name, problem in (("hosted_world:Nothing", "cannot import"), ("broken_hands:still", "no weights")):
        command = ["--model", f"host:{name}", *ENV, "--env-python", sys.executable, "--output", "run", "--quiet"]
        assert rollout([*command, "--episodes", "1"]) == 2
        line, *others = capsys.readouterr().err.splitlines()
        assert problem in line
        assert not others
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_mistake_that_only_the_run_finds_leaves_nothing_behind(tmp_path, workers):
    wrong = ["--env", "hosted_world:World", "--success", "info:won", "--max-episode-steps", "3"]
    assert run("here", "--episodes", 2, "--workers", workers, env=wrong) == 2
    assert not (tmp_path / "here").exists()
    words = ["--model", "host:hosted_world:Half", *wrong, "--env-python", sys.executable, "--episodes", "2", "--quiet"]
    assert rollout([*words, "--workers", str(workers)]) == 2
    assert not (tmp_path / "runs").exists()
    (tmp_path / "here").mkdir()
    assert run("here", "--episodes", 2, "--workers", workers, "--video", 1, env=wrong) == 2
    assert list((tmp_path / "here").iterdir()) == []
    assert run("here", "--episodes", 2, "--workers", workers) == 0


def test_a_hosted_policy_needs_a_hosted_environment(capsys, monkeypatch):
    monkeypatch.delenv("SIMSCALE_ENV_PYTHON")
    flags = ["--model", "host:hosted_world:Half", "--env", "reach", "--episodes", "1", "--output", "run", "--quiet"]
    assert rollout(flags) == 2
    assert "is not hosted" in capsys.readouterr().err


def test_an_interpreter_that_does_not_exist(capsys):
    assert (
        rollout(["--model", "random", "--env", NAME, "--env-python", "no-such-python", "--output", "run", "--quiet"])
        == 2
    )
    assert "no-such-python" in capsys.readouterr().err
