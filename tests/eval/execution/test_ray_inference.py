"""Ray with an inference process: one model on each machine, and the same bytes whatever is killed."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from eval import collect, rollout
from tests.eval.execution.ray_nodes import NODE, has_lines, running_cluster, starting, wait_until
from tests.eval.execution.wild_models import write_wild

MANY = ["--env", "reach", "--episodes", "60", "--seed", "3000000500", "--num-envs", "3", "--quiet"]
WAIT_WHILE_PAUSED = "time.sleep(0.01)\n            while pathlib.Path('pause').exists(): time.sleep(0.05)"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    with running_cluster(2, 1) as nodes:
        yield nodes


@pytest.fixture
def paused_run(tmp_path, monkeypatch, cluster):
    """A run on the cluster, which a file stops when its first episodes have ended, and the same run in one process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    flags = [*write_wild("multiprocessing.parent_process()", WAIT_WHILE_PAUSED), *MANY]
    assert rollout.main([*flags, "--output", "one"]) == 0
    Path("pause").touch()
    with starting(cluster) as start:
        run = start(*flags, "--workers", "3", "--device", "cpu", "--output", "ray")
        wait_until(lambda: len(processes(with_model=True)) == 2)
        Path("pause").unlink()
        wait_until(lambda: has_lines("ray", 2))
        Path("pause").touch()
        assert not has_lines("ray", 60)
        yield run


def processes(*, with_model):
    """Return the ids of the processes that actors of the run in the working directory have started."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_ours = b"spawn_main" in (path / "cmdline").read_bytes() and (path / "cwd").samefile(Path.cwd())
            if is_ours and ("libtorch_cpu" in (path / "maps").read_text()) == with_model:
                found.append(int(path.name))
    return found


def end(run):
    Path("pause").unlink()
    assert run.wait(600) == 0
    assert Path("ray", "episodes.jsonl").read_bytes() == Path("one", "episodes.jsonl").read_bytes()
    wait_until(lambda: not processes(with_model=True) + processes(with_model=False))


def test_each_machine_has_one_model_and_another_one_after_kill_9(paused_run):
    models = processes(with_model=True)
    assert len(models) == 2
    assert len(processes(with_model=False)) == 3
    os.kill(models[0], signal.SIGKILL)
    wait_until(lambda: len(set(processes(with_model=True)) - {models[0]}) == 2)
    end(paused_run)


def test_the_run_goes_on_with_the_other_machines_when_one_is_killed(paused_run, cluster):
    cluster.remove_node(max(cluster.worker_nodes, key=lambda node: node.node_id), allow_graceful=False)
    wait_until(lambda: len(processes(with_model=True)) == 1)
    cluster.add_node(**NODE | {"num_cpus": 2})
    wait_until(lambda: len(processes(with_model=True)) == 2)
    end(paused_run)
    assert "a worker was lost (worker_died) with unfinished episodes" in Path("stderr").read_text()


def test_a_collection_has_the_bytes_of_one_process(tmp_path, monkeypatch, cluster):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    words = [
        *write_wild("False", "pass"),
        "--env",
        "reach",
        "--episodes",
        "6",
        "--seed",
        "3000000500",
        "--keep-failures",
    ]
    assert collect.main([*words, "--quiet", "--image-size", "40", "--output", "one"]) == 0
    with starting(cluster) as start:
        flags = [
            "--quiet",
            "--image-size",
            "40",
            "--workers",
            "3",
            "--num-envs",
            "2",
            "--device",
            "cpu",
            "--output",
            "ray",
        ]
        assert start(*words, *flags, command="collect").wait(600) == 0
    files = sorted(path.relative_to("one") for path in Path("one/episodes").iterdir())
    assert len(files) == 6
    assert all(Path("ray", file).read_bytes() == Path("one", file).read_bytes() for file in files)
