"""Several workers: the same bytes, however many they are and whatever happens to them."""

import json
import os
import signal
from pathlib import Path

import pytest

from eval import rollout
from eval.runs.log_file import read_results
from eval.runs.record import RunRecord

FEW = ["--env", "reach", "--episodes", "6", "--seed", "3000000500"]
UNLUCKY = 3_000_000_503


@pytest.fixture
def run_shape(tmp_path, monkeypatch):
    """Runs a model in some shape; returns the run's folder."""
    monkeypatch.chdir(tmp_path)

    def run(model, workers, num_envs, *flags, code=0):
        folder = Path(f"run-{workers}-{num_envs}")
        shape = ["--workers", str(workers), "--num-envs", str(num_envs), "--output", str(folder)]
        assert rollout.main(["--model", str(model), *FEW, *flags, *shape]) == code
        return folder

    return run


@pytest.fixture
def run_bytes(run_shape):
    """The same; returns the bytes of its episodes."""
    return lambda *shape: (run_shape(*shape) / "episodes.jsonl").read_bytes()


@pytest.fixture
def torch_threads():
    import torch

    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def doing(tmp_path, monkeypatch):
    """Makes a policy that does something unusual whenever it acts while the unlucky episode runs."""

    def write(deed):
        (tmp_path / "deeds.py").write_text(
            "import os, pathlib, signal, sys, time\n"
            "from policies.scripted.controls import ZeroPolicy\n\n\n"
            "class Policy(ZeroPolicy):\n"
            "    due = False\n\n"
            "    def reset(self, slots, seeds, instructions):\n"
            f"        self.due = {UNLUCKY} in seeds\n\n"
            "    def predict(self, observation, slots):\n"
            "        if self.due:\n"
            f"            {deed}\n"
            "        return super().predict(observation, slots)\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        return "deeds:Policy"

    return write


def test_scripted_episodes_are_the_same_bytes_for_any_shape(run_bytes):
    reference = run_bytes("scripted", 1, 1)
    assert run_bytes("scripted", 1, 3) == reference
    assert run_bytes("scripted", 2, 3) == reference


@pytest.mark.parametrize(
    ("name", "num_envs", "threads", "episodes"),
    [
        pytest.param("bc", 1, 1, 3, marks=pytest.mark.slow),
        ("vla-mlp", 3, 2, 6),
        pytest.param("vla-diffusion", 1, 1, 3, marks=pytest.mark.slow),
    ],
)
def test_learned_policies_are_the_same_bytes_for_any_shape(
    run_bytes, make_checkpoint, torch_threads, name, num_envs, threads, episodes
):
    """Workers have one thread; the run without them has so many `threads`, and one slot for each episode."""
    torch_threads(threads)
    checkpoint = make_checkpoint(name)
    reference = run_bytes(checkpoint, 1, episodes, "--episodes", str(episodes))
    assert len({json.loads(line)["digest"] for line in reference.splitlines()}) == episodes
    assert run_bytes(checkpoint, 2, num_envs, "--episodes", str(episodes)) == reference


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scripted", "bc", "bc-image", "vla-mlp", "vla-diffusion"])
def test_every_shape_gives_the_same_bytes(run_bytes, make_checkpoint, name):
    model = name if name == "scripted" else make_checkpoint(name)
    shapes = [(workers, num_envs) for workers in (1, 2, 3) for num_envs in (1, 3, 8)]
    assert len({run_bytes(model, *shape) for shape in shapes}) == 1


def test_a_worker_has_one_thread_for_each_library(run_shape, doing, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    names = ["LP_NUM_THREADS", "OMP_NUM_THREADS"]
    run_shape(doing(f"pathlib.Path('threads').write_text(str([os.environ.get(name) for name in {names}]))"), 2, 1)
    assert Path("threads").read_text() == "['1', '1']"
    assert "OMP_NUM_THREADS" not in os.environ


def test_a_worker_leaves_ctrl_c_to_the_parent(run_shape, doing):
    blocked = "str(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    run_shape(doing(f"pathlib.Path('blocked').write_text({blocked})"), 2, 1)
    assert Path("blocked").read_text() == "True"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.slow
def test_a_worker_films_what_it_runs(run_shape):
    folder = run_shape("scripted", 2, 1, "--video", "2")
    assert sorted(path.name for path in (folder / "videos").iterdir()) == [
        "episode_000000.mp4",
        "episode_000001.mp4",
    ]


def test_episodes_of_a_killed_worker_run_again(run_bytes, doing, caplog):
    """It is killed once, in the middle of three episodes."""
    model = doing(
        "if not pathlib.Path('killed').exists():\n"
        "                pathlib.Path('killed').touch()\n"
        "                os.kill(os.getpid(), signal.SIGKILL)"
    )
    after_a_kill = run_bytes(model, 2, 3)
    assert "worker exited (worker_died, exit code -9)" in caplog.text
    assert run_bytes(model, 1, 3) == after_a_kill


def test_an_episode_that_always_kills_its_worker_is_the_only_one_lost(run_shape, doing):
    folder = run_shape(doing("os.kill(os.getpid(), signal.SIGKILL)"), 2, 3, code=1)
    results = read_results(folder / "episodes.jsonl")
    assert [result.seed for result in results if result.status == "error"] == [UNLUCKY]
    assert results[3].failure == "worker_died"
    assert len(results) == 6
    assert RunRecord.read(folder).summary.errors == 1


@pytest.mark.parametrize("deed", ["sys.exit(0)", "raise RuntimeError('no idea')", "raise KeyError"])
def test_what_a_policy_raises_is_the_same_failure_in_workers(run_shape, doing, deed):
    model = doing(deed)
    in_workers = read_results(run_shape(model, 2, 3) / "episodes.jsonl")
    assert in_workers == read_results(run_shape(model, 1, 3) / "episodes.jsonl")
    assert [result.seed for result in in_workers if result.failure == "policy_exception"] == [UNLUCKY]


@pytest.mark.slow
def test_a_policy_that_does_not_answer_is_told_killed_and_fails_that_episode_only(
    run_shape, doing, caplog, monkeypatch
):
    monkeypatch.setattr("eval.execution.processes.WARN_SECONDS", 0.5)
    folder = run_shape(doing("time.sleep(3600)"), 2, 3, "--timeout", "15")
    assert "the policy has not answered for 0.5 s; episodes " in caplog.text
    results = read_results(folder / "episodes.jsonl")
    assert [(result.seed, result.status) for result in results if result.failure == "policy_timeout"] == [
        (UNLUCKY, "failure")
    ]
    healthy = read_results(run_shape("zero", 1, 3) / "episodes.jsonl")
    assert [r for r in results if r.seed != UNLUCKY] == [r for r in healthy if r.seed != UNLUCKY]


def test_a_policy_that_changes_after_the_start_is_refused_by_the_workers(run_shape, tmp_path, monkeypatch, capsys):
    """The source changes while the run is being prepared: workers would load another policy than the record names."""
    (tmp_path / "changing.py").write_text(
        "import pathlib\n"
        "from policies.scripted.controls import ZeroPolicy\n\n\n"
        "class Policy(ZeroPolicy):\n"
        "    def __init__(self, spec):\n"
        "        super().__init__(spec)\n"
        "        with pathlib.Path(__file__).open('a') as file:\n"
        "            file.write('# changed\\n')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    run_shape("changing:Policy", 2, 3, code=2)
    assert "policy 'changing:Policy' has changed since the run began" in capsys.readouterr().err


def test_workers_that_cannot_start_end_the_run(run_shape, monkeypatch, capsys):
    monkeypatch.setattr("eval.execution.processes.ONE_THREAD_EACH", {"PYTHONHOME": "/nowhere"})
    run_shape("zero", 2, 1, code=2)
    assert "3 workers in a row exited before their first episode" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--workers", "--num-envs"])
def test_no_workers_or_slots_is_a_mistake(tmp_path, monkeypatch, capsys, flag):
    monkeypatch.chdir(tmp_path)
    assert rollout.main(["--model", "zero", *FEW, flag, "0"]) == 2
    assert "of at least 1" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
