"""Ray: on a real cluster of several nodes, the same bytes as in processes, whatever is killed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eval import collect, robustness, rollout
from eval.runs.log_file import read_results
from eval.runs.provenance import source_digest
from eval.runs.record import RunRecord

ROOT = Path(__file__).resolve().parents[3]
FEW = ["--env", "reach", "--episodes", "8", "--seed", "3000000500"]
MANY = ["--env", "reach", "--episodes", "120", "--seed", "3000000500", "--num-envs", "4"]
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}

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


@pytest.fixture(autouse=True)
def workdir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def cluster():
    """A cluster without a CPU on its head, and with two nodes of one CPU each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(ROOT))
        from ray.cluster_utils import Cluster

        head = {**NODE, "num_cpus": 0, "include_dashboard": False}
        nodes = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            nodes.add_node(**NODE)
        yield nodes
        nodes.shutdown()


@pytest.fixture
def start(workdir, cluster):
    """Starts the command on the cluster; kills what is left of it at the end."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{workdir}", "RAY_ADDRESS": cluster.address}
    started = []

    def begin(*arguments, command="rollout"):
        command = [sys.executable, "-m", f"eval.{command}", "--executor", "ray", "--workers", "2", *arguments]
        with Path("stderr").open("w") as errors:
            process = subprocess.Popen(command, env=environment, stderr=errors)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def unhurried(workdir, monkeypatch):
    """A slow policy that notes the processes that compute it; and the bytes of its run in one process."""
    (workdir / "unhurried.py").write_text(UNHURRIED)
    monkeypatch.syspath_prepend(str(workdir))
    assert rollout.main(["--model", "zero", *MANY, "--output", "one", "--quiet"]) == 0
    return "unhurried:Policy"


def wait_until(condition, seconds=300.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def has_lines(folder, n):
    path = Path(folder, "episodes.jsonl")
    return path.exists() and path.read_bytes().count(b"\n") >= n


def is_running(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def same(a, b, *names):
    return all(Path(a, name).read_bytes() == Path(b, name).read_bytes() for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scripted", "bc", "vla-mlp", "vla-diffusion"])
def test_ray_writes_the_bytes_of_processes(start, make_checkpoint, name):
    model = name if name == "scripted" else str(make_checkpoint(name))
    flags = ["--model", model, *FEW, "--quiet", *(["--video", "2"] if name == "scripted" else [])]
    assert rollout.main([*flags, "--workers", "2", "--output", "processes"]) == 0
    assert start(*flags, "--output", "ray").wait(300) == 0
    assert same("processes", "ray", "episodes.jsonl", "receipts.json")
    assert RunRecord.read(Path("ray")).summary == RunRecord.read(Path("processes")).summary
    films = sorted(path.relative_to("processes") for path in Path("processes").glob("*/episode_*"))
    assert len(films) == (4 if name == "scripted" else 0)
    assert same("processes", "ray", *films)


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
def test_a_node_that_could_give_other_results_is_refused_before_an_episode(
    start, cluster, workdir, monkeypatch, command
):
    (workdir / "other").mkdir()
    (workdir / "other" / "sitecustomize.py").write_text(OTHER_MACHINE)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{workdir / 'other'}")
        node = cluster.add_node(**NODE)
    try:
        run = start("--model", "scripted", *FEW, "--workers", "3", "--output", "ray", command=command)
        assert run.wait(300) != 0
    finally:
        cluster.remove_node(node)
    message = Path("stderr").read_text()
    assert "fingerprint.machine" in message
    assert "riscv64" in message


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


@pytest.mark.parametrize("command", [rollout, collect, robustness])
def test_ray_is_refused_with_a_device(capsys, command):
    flags = [*FEW[:4], "--output", "d", "--executor", "ray", "--device", "cpu"]
    assert command.main(["--model", "bc", *flags]) != 0
    assert "--executor ray without --device" in capsys.readouterr().err


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
