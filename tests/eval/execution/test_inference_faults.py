"""Whatever dies, hangs or raises beside an inference process: only the episode that is the cause differs."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from envs.registration import find_environment
from envs.slots import Start
from eval import rollout
from eval.runs.log_file import EPISODES_FILE, read_results
from policies.learned.process.supervisor import InferenceProcess
from tests.eval.execution.wild_models import write_wild

ROOT = Path(__file__).resolve().parents[3]
SEED, EPISODES = 3_000_000_500, 6
UNLUCKY = SEED + 3
FEW = ["--env", "reach", "--episodes", str(EPISODES), "--seed", str(SEED), "--num-envs", "3"]
ONE_PROCESS = ["--workers", "2", "--device", "cpu"]

KILLED_ONCE = (
    "if not pathlib.Path('killed').exists():\n"
    "                pathlib.Path('killed').touch()\n"
    "                os.kill(os.getpid(), signal.SIGKILL)"
)


@pytest.fixture
def goal():
    """The goal that the state of the unlucky episode ends with."""
    registration = find_environment("reach")
    env = registration.make(1, registration.offer().needs("state"), True, None)
    slots = np.zeros(1, dtype=np.intp)
    env.reset(slots, [Start(UNLUCKY)])
    found = env.observe(slots, np.zeros(1, dtype=bool))["state"][0, -3:].tolist()
    env.close()
    return found


@pytest.fixture
def doing(tmp_path, goal, monkeypatch):
    """Makes the checkpoint of a model that does something in the unlucky episode; returns flags that select it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    is_unlucky = f'(observations["state"][:, -3:] == torch.tensor({goal})).all(1).any()'
    return lambda deed: write_wild(is_unlucky, deed)


def run(model, *flags, code=0):
    folder = Path(f"run-{len(list(Path().glob('run-*')))}")
    assert rollout.main([*model, *FEW, *flags, "--output", str(folder)]) == code
    return folder


def of_others(folder):
    return [result for result in read_results(folder / EPISODES_FILE) if result.seed != UNLUCKY]


def unlucky(folder):
    (result,) = [result for result in read_results(folder / EPISODES_FILE) if result.seed == UNLUCKY]
    return result.status, result.failure


def test_calls_of_a_killed_inference_process_are_computed_again(doing, caplog):
    model = doing(KILLED_ONCE)
    folder = run(model, *ONE_PROCESS)
    assert "the inference process exited (exit code -9); another one computes its calls again" in caplog.text
    assert run(model).joinpath(EPISODES_FILE).read_bytes() == (folder / EPISODES_FILE).read_bytes()


def test_what_a_model_raises_is_the_same_failure_as_in_a_worker(doing):
    model = doing("raise RuntimeError('no idea')")
    folder = run(model, *ONE_PROCESS)
    assert unlucky(folder) == ("failure", "policy_exception")
    assert run(model).joinpath(EPISODES_FILE).read_bytes() == (folder / EPISODES_FILE).read_bytes()


@pytest.mark.slow
def test_an_episode_that_always_kills_the_inference_process_is_the_only_one_lost(doing):
    folder = run(doing("os.kill(os.getpid(), signal.SIGKILL)"), *ONE_PROCESS, code=1)
    assert unlucky(folder) == ("error", "policy_unavailable")
    assert of_others(folder) == of_others(run(doing("pass")))


@pytest.mark.slow
def test_an_episode_in_which_the_model_hangs_is_the_only_one_that_fails(doing, monkeypatch):
    start_process = InferenceProcess.start

    def start_late(self):  # workers have time to react to what the end of the process before left behind
        time.sleep(0.5)
        start_process(self)

    monkeypatch.setattr(InferenceProcess, "start", start_late)
    folder = run(doing("time.sleep(3600)"), *ONE_PROCESS, "--timeout", "5")
    assert unlucky(folder) == ("failure", "policy_timeout")
    assert of_others(folder) == of_others(run(doing("pass")))


@pytest.mark.slow
def test_a_model_that_kills_its_process_while_it_is_loaded_ends_the_run(doing, capsys):
    model = doing("pass")
    with Path("wild.py").open("a") as file:
        file.write("\n\nimport multiprocessing\nif multiprocessing.parent_process():\n    os._exit(7)\n")
    run(model, *ONE_PROCESS, code=2)
    error = capsys.readouterr().err
    assert "3 inference processes in a row exited before they had loaded the policy (exit code 7" in error


# From outside


@pytest.fixture
def start(monkeypatch):
    """Starts the command in a session of its own; kills what is left of it at the end."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{Path.cwd()}")
    started = []

    def begin(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "eval.rollout", *arguments], stderr=subprocess.DEVNULL, start_new_session=True
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def members(session):
    """Returns the ids of the living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, leader = path.read_text().rpartition(")")[2].split()[:4]
            if int(leader) == session and state != "Z":
                found.append(int(path.parent.name))
    return found


def children_with_torch(process, *, loaded):
    found = []
    for pid in members(process.pid):
        with contextlib.suppress(OSError):
            has_torch = "libtorch_cpu" in Path(f"/proc/{pid}/maps").read_text()
            is_child = b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
            if is_child and has_torch == loaded:
                found.append(pid)
    return found


def wait_until(condition, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lines(folder):
    path = Path(folder, EPISODES_FILE)
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["inference process", "worker", "driver"])
def test_kill_9_of_any_process_changes_no_byte_and_leaves_nothing(doing, start, victim):
    model = doing("pass")
    many = [*model, *FEW, "--episodes", "60", "--quiet"]
    assert rollout.main([*many, "--output", "whole"]) == 0
    process = start(*many, *ONE_PROCESS, "--output", "killed")
    wait_until(lambda: lines("killed") >= 6)
    assert len(children_with_torch(process, loaded=True)) == 1
    if victim == "driver":
        process.kill()
        process.wait()
    else:
        os.kill(children_with_torch(process, loaded=victim == "inference process")[0], signal.SIGKILL)
        assert process.wait(300) == 0
    wait_until(lambda: not members(process.pid), seconds=20)
    if victim == "driver":
        assert lines("killed") < 60
        assert rollout.main([*many, *ONE_PROCESS, "--output", "killed", "--resume"]) == 0
    assert Path("killed", EPISODES_FILE).read_bytes() == Path("whole", EPISODES_FILE).read_bytes()
