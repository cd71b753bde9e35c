"""Runs with a policy server: the same bytes as in this process, for any shape of the run, and after losses."""

import functools
import json
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

import pytest

import policies.foreign.openpi.policy
from eval.rollout import RolloutConfig, main, run
from policies.foreign.openpi.client import Server

SCRIPT = Path(__file__).parent / "seeded_server.py"


@contextmanager
def serving(port=0, requests=0, end="kill", *, restarts=False):
    """Yield the address of a server in a process of its own, which misbehaves after some requests.

    With `restarts`, another server at the same address follows it.
    """
    words = [sys.executable, str(SCRIPT), str(port), str(requests), end]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process, ExitStack() as stack:
        stack.callback(process.kill)
        port = int(process.stdout.readline())
        if restarts:
            waiter = Thread(target=lambda: (process.wait(), stack.enter_context(serving(port))))
            waiter.start()
            stack.callback(waiter.join)
        yield f"ws://127.0.0.1:{port}"


@pytest.fixture
def impatient(monkeypatch):
    """Short times for all waits for a connection. It may be called with another time for the wait for an answer."""

    def limit(seconds_to_answer=60.0):
        times = {"seconds_to_open": 0.1, "seconds_to_reconnect": 0.1, "seconds_to_answer": seconds_to_answer}
        monkeypatch.setattr(policies.foreign.openpi.policy, "Server", functools.partial(Server, **times))

    limit()
    return limit


def evaluate(output, model, **settings):
    run(RolloutConfig(model=model, env="reach", episodes=8, output=output, quiet=True, **settings))
    return (output / "episodes.jsonl").read_bytes()


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return evaluate(tmp_path_factory.mktemp("here") / "run", f"{SCRIPT}:Noisy")


def test_a_seeded_server_gives_the_bytes_of_the_same_policy_in_this_process(tmp_path, expected):
    with serving() as url:
        assert evaluate(tmp_path / "five", url, num_envs=5) == expected
        assert evaluate(tmp_path / "one", url, num_envs=1) == expected
    record = json.loads((tmp_path / "one" / "run.json").read_text())
    assert record["policies"][0]["identity"] == "noisy"


@pytest.mark.slow
def test_workers_have_connections_of_their_own(tmp_path, expected):
    with serving() as url:
        assert evaluate(tmp_path / "run", url, num_envs=2, workers=2) == expected


def test_episodes_of_a_killed_server_are_errors_that_resume_runs_again(tmp_path, expected, impatient, capsys):
    words = ["--env", "reach", "--episodes", "8", "--num-envs", "3", "--output", str(tmp_path / "run"), "--quiet"]
    with serving(requests=20) as url:
        assert main(["--model", url, *words]) == 1
    results = [json.loads(line) for line in (tmp_path / "run" / "episodes.jsonl").read_text().splitlines()]
    lost = [result["episode_index"] for result in results if result["status"] == "error"]
    assert 0 < len(lost) < 8
    assert {result["failure"] for result in results if result["status"] == "error"} == {"policy_unavailable"}
    with serving(port=int(url.rpartition(":")[2])):
        assert main(["--model", url, *words, "--resume"]) == 0
    assert (tmp_path / "run" / "episodes.jsonl").read_bytes() == expected


@pytest.mark.parametrize(
    ("end", "status", "failure"),
    [
        pytest.param("hang", "error", "policy_unavailable", marks=pytest.mark.slow),
        ("error", "failure", "policy_exception"),
        ("nan", "failure", "invalid_action"),
    ],
)
def test_what_a_server_does_is_booked_to_its_owner(tmp_path, impatient, end, status, failure):
    words = ["--env", "reach", "--seeds", "0", "1", "--num-envs", "1", "--output", str(tmp_path / "run"), "--quiet"]
    if end == "hang":
        impatient(seconds_to_answer=1.0)
    with serving(requests=2, end=end) as url:
        assert main(["--model", url, *words]) == (1 if status == "error" else 0)
    results = [json.loads(line) for line in (tmp_path / "run" / "episodes.jsonl").read_text().splitlines()]
    assert {(result["status"], result["failure"]) for result in results} == {(status, failure)}


@pytest.mark.slow
def test_a_run_goes_on_with_a_server_that_is_started_again(tmp_path, expected):
    with serving(requests=20, restarts=True) as url:
        assert evaluate(tmp_path / "run", url, num_envs=3) == expected


def test_no_server_is_one_line_and_no_folder(tmp_path, impatient, capsys):
    output = tmp_path / "run"
    assert main(["--model", "ws://127.0.0.1:9", "--env", "reach", "--output", str(output)]) == 2
    error = capsys.readouterr().err
    assert "no policy server to use at ws://127.0.0.1:9" in error
    assert error.count("\n") == 1
    assert not output.exists()
