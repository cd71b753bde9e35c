"""Ray: on a real cluster of several nodes, the same bytes as in processes, whatever is killed."""

import os
import signal
import sys
from pathlib import Path

import pytest

from eval import collect, robustness, rollout
from eval.runs.log_file import read_results
from eval.runs.provenance import source_digest
from eval.runs.record import RunRecord
from tests.eval.execution.ray_nodes import NODE, ROOT, has_lines, is_running, running_cluster, starting, wait_until

FEW = ["--env", "reach", "--episodes", "8", "--seed", "3000000500"]
MANY = ["--env", "reach", "--episodes", "120", "--seed", "3000000500", "--num-envs", "4"]

UNHURRIED = """
import os, pathlib, time
from policies.scripted.controls import ZeroPolicy


class Policy(ZeroPolicy):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        pathlib.Path("pids").mkdir(exist_ok=True)
        pathlib.Path("pids", str(os.getpid())).touch()

    def predict(self, observation, slots):
        time.sleep(0.01)
        return super().predict(observation, slots)
"""

UNLUCKY = 3_000_000_503
DEADLY = f"""
import os, signal
from policies.scripted.controls import ZeroPolicy


class Policy(ZeroPolicy):
    def reset(self, slots, seeds, instructions):
        if {UNLUCKY} in seeds:
            os.kill(os.getpid(), signal.SIGKILL)
"""

OTHER_MACHINE = "import platform\nplatform.machine = lambda: 'riscv64'\n"

OTHER_PACKAGES = """
from importlib import metadata

installed = metadata.version
metadata.version = lambda name: "0.1" if name == "gymnasium" else installed(name)
"""
INTERPRETER = f"""#!/bin/sh
if [ -n "$OTHER_PACKAGES" ]; then PYTHONPATH="$OTHER_PACKAGES:$PYTHONPATH"; export PYTHONPATH; fi
exec {sys.executable} "$@"
"""
WAITING = """
import time


class Waiting:
    needs = {}

    def reset(self, seed, instruction):
        pass

    def act(self, observation):
        time.sleep(3600)
"""


@pytest.fixture(autouse=True)
def workdir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def cluster():
    with running_cluster(1, 1) as nodes:
        yield nodes


@pytest.fixture
def start(workdir, cluster):
    """Starts the command on the cluster with two workers."""
    with starting(cluster) as begin:
        yield lambda *arguments, command="rollout": begin("--workers", "2", *arguments, command=command)


@pytest.fixture
def waiting(workdir, monkeypatch):
    """A policy that never answers: a run with more episodes than two workers take lasts until a third one has begun."""
    (workdir / "waiting.py").write_text(WAITING)
    monkeypatch.syspath_prepend(str(workdir))
    return "waiting:Waiting"


@pytest.fixture
def unhurried(workdir, monkeypatch):
    """A slow policy that notes the processes that compute it; and the bytes of its run in one process."""
    (workdir / "unhurried.py").write_text(UNHURRIED)
    monkeypatch.syspath_prepend(str(workdir))
    assert rollout.main(["--model", "zero", *MANY, "--output", "one", "--quiet"]) == 0
    return "unhurried:Policy"


def same(a, b, *names):
    return all(Path(a, name).read_bytes() == Path(b, name).read_bytes() for name in names)


@pytest.mark.slow
def test_receipts_films_and_recordings_reach_the_machine_of_the_command(start):
    pytest.importorskip("rerun")
    flags = ["--model", "scripted", *FEW, "--quiet", "--video", "2", "--rerun", "1"]
    assert rollout.main([*flags, "--workers", "2", "--output", "processes"]) == 0
    assert start(*flags, "--output", "ray").wait(300) == 0
    assert same("processes", "ray", "episodes.jsonl", "receipts.json")
    assert RunRecord.read(Path("ray")).summary == RunRecord.read(Path("processes")).summary
    films = sorted(path.relative_to("processes") for path in Path("processes").glob("*/episode_*.[mn]p*"))
    assert len(films) == 4
    assert same("processes", "ray", *films)
    assert [path.name for path in Path("ray/rerun").iterdir()] == ["episode_000000.rrd"]


def contents(folder):
    """Returns every file below `folder` with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.slow
def test_ray_collects_the_dataset_of_processes(start):
    flags = ["--env", "pick-place", "--episodes", "8", "--action-noise", "0.6", "--image-size", "32", "--quiet"]
    assert collect.main([*flags, "--workers", "2", "--output", "processes"]) == 0
    assert start(*flags, "--output", "ray", command="collect").wait(300) == 0
    assert contents("ray") == contents("processes")


@pytest.mark.slow
def test_a_battery_on_ray_has_the_bytes_of_processes(start):
    flags = ["--model", "scripted", "zero", "--env", "reach", "--episodes", "4", "--axes", "action.noise", "--quiet"]
    flags += ["--levels", "2", "5"]
    assert robustness.main([*flags, "--workers", "2", "--output", "processes"]) == 0
    assert start(*flags, "--output", "ray", command="robustness").wait(300) == 0
    logs = sorted(path.relative_to("processes") for path in Path("processes").rglob("episodes.jsonl"))
    assert len(logs) == 3  # both policies and the expert
    assert same("processes", "ray", *logs)
    assert Path("ray/report.html").is_file()


@pytest.mark.slow
def test_a_stopping_rule_ends_a_run_on_ray_after_the_same_episodes(start):
    flags = ["--model", "scripted", "--env", "reach", "--until-width", "0.2", "--num-envs", "4", "--quiet"]
    assert rollout.main([*flags, "--workers", "2", "--output", "processes"]) == 0
    assert start(*flags, "--output", "ray").wait(300) == 0
    assert same("processes", "ray", "episodes.jsonl")


def lose_a_node(cluster):
    """Kills a node of a run in the folder `ray` that has begun in two workers, and adds another one."""
    wait_until(lambda: has_lines("ray", 6) and len(list(Path("pids").iterdir())) == 3)  # the command has one, too
    cluster.remove_node(max(cluster.worker_nodes, key=lambda node: node.node_id), allow_graceful=False)
    cluster.add_node(**NODE)


@pytest.mark.slow
def test_a_run_goes_on_when_a_node_is_killed(start, cluster, unhurried):
    run = start("--model", unhurried, *MANY, "--output", "ray")
    lose_a_node(cluster)
    assert run.wait(300) == 0
    assert "a worker was lost (worker_died) with unfinished episodes" in Path("stderr").read_text()
    assert len(list(Path("pids").iterdir())) == 4  # the new node took over
    assert same("one", "ray", "episodes.jsonl")


@pytest.mark.slow
def test_a_collection_goes_on_when_a_node_is_killed(start, cluster, unhurried):
    flags = ["--model", unhurried, *MANY[:4], "--cameras", "--keep-failures", "--quiet"]
    run = start(*flags, "--num-envs", "4", "--output", "ray", command="collect")
    lose_a_node(cluster)
    assert run.wait(300) == 0
    assert "a worker was lost (worker_died) with unfinished episodes" in Path("stderr").read_text()
    assert collect.main([*flags, "--num-envs", "120", "--output", "again"]) == 0
    assert contents("ray") == contents("again")


@pytest.mark.slow
def test_a_battery_goes_on_when_a_node_is_killed(start, cluster, unhurried):
    flags = ["--model", unhurried, *MANY[:2], "--episodes", "60", "--axes", "action.noise", "--levels", "5", "--quiet"]
    run = start(*flags, "--num-envs", "4", "--output", "ray", command="robustness")
    lose_a_node(cluster)
    assert run.wait(300) == 0
    assert "a worker was lost (worker_died) with unfinished episodes" in Path("stderr").read_text()
    assert robustness.main([*flags, "--output", "again"]) == 0
    assert same("again", "ray", "episodes.jsonl", "expert/episodes.jsonl")


@pytest.mark.slow
def test_a_killed_command_leaves_nothing_running_and_resumes_to_the_same_bytes(start, unhurried):
    flags = ["--model", unhurried, *MANY, "--output", "ray"]
    run = start(*flags)
    wait_until(lambda: has_lines("ray", 6))
    run.send_signal(signal.SIGKILL)
    run.wait()
    wait_until(lambda: not any(is_running(pid.name) for pid in Path("pids").iterdir()))
    assert 6 <= len(read_results(Path("ray", "episodes.jsonl"))) < 120
    assert start(*flags, "--resume").wait(300) == 0
    assert same("one", "ray", "episodes.jsonl")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["rollout", "collect"])
def test_a_node_that_could_give_other_results_is_refused(start, cluster, workdir, monkeypatch, waiting, command):
    (workdir / "other").mkdir()
    (workdir / "other" / "sitecustomize.py").write_text(OTHER_MACHINE)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{workdir / 'other'}")
        node = cluster.add_node(**NODE)
    try:
        words = ["--model", waiting, *FEW, "--num-envs", "1", "--workers", "3", "--output", "ray"]
        assert start(*words, command=command).wait(300) == 2
    finally:
        cluster.remove_node(node)
    message = Path("stderr").read_text()
    assert "fingerprint.machine" in message
    assert "riscv64" in message


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "host:"])
def test_a_node_with_other_packages_for_a_hosted_environment_is_refused(
    start, cluster, workdir, monkeypatch, waiting, prefix
):
    (workdir / "python").write_text(INTERPRETER)
    (workdir / "python").chmod(0o755)
    (workdir / "other").mkdir()
    (workdir / "other" / "sitecustomize.py").write_text(OTHER_PACKAGES)
    with monkeypatch.context() as patch:
        patch.setenv("OTHER_PACKAGES", str(workdir / "other"))
        node = cluster.add_node(**NODE)
    pendulum = ["--env", "gym:Pendulum-v1", "--success", "return>=-900", "--env-python", str(workdir / "python")]
    shape = ["--episodes", "8", "--num-envs", "1", "--workers", "3", "--output", "ray"]
    try:
        assert start("--model", f"{prefix}{waiting}", *pendulum, *shape).wait(300) == 2
    finally:
        cluster.remove_node(node)
    message = Path("stderr").read_text()
    assert 'fingerprint.hosted.libraries.gymnasium: is "' in message
    assert 'on the machine of the command, here "0.1"' in message


@pytest.mark.slow
def test_an_episode_that_always_kills_its_worker_is_the_only_one_lost(start, workdir):
    (workdir / "deadly.py").write_text(DEADLY)
    assert start("--model", "deadly:Policy", *FEW, "--num-envs", "4", "--output", "ray").wait(300) == 1
    results = read_results(Path("ray", "episodes.jsonl"))
    assert [result.seed for result in results if result.status == "error"] == [UNLUCKY]
    assert len(results) == 8


@pytest.mark.slow
def test_a_policy_that_never_answers_is_the_same_failure_as_in_processes(start, workdir, monkeypatch):
    (workdir / "silent.py").write_text(DEADLY.replace("os.kill(os.getpid(), signal.SIGKILL)", "signal.pause()"))
    monkeypatch.syspath_prepend(str(workdir))
    flags = ["--model", "silent:Policy", *FEW, "--num-envs", "3", "--timeout", "15", "--quiet"]
    assert rollout.main([*flags, "--workers", "2", "--output", "processes"]) == 0
    assert start(*flags, "--output", "ray").wait(300) == 0
    assert same("processes", "ray", "episodes.jsonl")


def test_without_the_package_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert rollout.main(["--model", "scripted", *FEW, "--executor", "ray"]) != 0
    assert "pip install 'simscaleai[ray]'" in capsys.readouterr().err


@pytest.mark.parametrize(("address", "text"), [("127.0.0.1:1", "no Ray cluster at"), ("ray://a:1", "HOST:PORT")])
def test_an_address_without_a_cluster_is_named_at_once(monkeypatch, capsys, address, text):
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert rollout.main(["--model", "scripted", *FEW, "--executor", "ray"]) != 0
    assert text in capsys.readouterr().err
    assert not list(Path().rglob("run.json"))


def test_the_digest_of_the_source_covers_every_file(workdir):
    (workdir / "eval").mkdir()
    digests = set()
    for name, text in [("a.py", ""), ("a.py", "1"), ("b.py", "1")]:
        (workdir / "eval" / name).write_text(text)
        digests.add(source_digest(workdir))
    assert len(digests) == 3
