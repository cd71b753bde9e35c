"""An environment of another package goes through every command: no simulator, 2 actions, no `state`, no stage."""

import json
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import point_world
import pytest
from safetensors.numpy import load_file

import simscaleai.train
from eval import collect, compare, record, rollout
from eval.report import __main__ as report
from eval.runs.log_file import read_results
from eval.runs.receipts import read_receipts
from eval.runs.record import RunRecord
from simscaleai.data import Dataset

HOMING = ["--model", "point_world:Homing", "--env", "point"]
FEW = [*HOMING, "--episodes", "6", "--seed", "3000000000"]

pytestmark = pytest.mark.usefixtures("workdir", "point_package")


@pytest.fixture
def seeing(workdir, monkeypatch):
    """The same policy, which also looks at images and reads the instruction."""
    (workdir / "seeing.py").write_text(
        "from point_world import Homing\n\n\ndef make(spec):\n    return Homing(spec, cameras=True, instruction=True)\n"
    )
    monkeypatch.syspath_prepend(str(workdir))
    monkeypatch.delitem(sys.modules, "seeing", raising=False)
    return "seeing:make"


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def test_a_run_gives_the_same_bytes_here_and_in_workers(capsys):
    for name, shape in {"a": [], "b": ["--num-envs", "2"], "c": ["--workers", "2", "--num-envs", "2"]}.items():
        assert rollout.main([*FEW, *shape, "--output", name]) == 0
        assert files_in(name) == ["episodes.jsonl", "receipts.json", "run.json"]
    out = capsys.readouterr().out
    assert out.count("point_world:Homing in Test/Point-v0: 6 episodes, seeds 3000000000 to 3000000005") == 3
    assert out.count("success once         6/6   100.0 %   95 % interval [61.0, 100.0] (Wilson)") == 3
    assert len({Path(name, "episodes.jsonl").read_bytes() for name in "abc"}) == 1
    results = read_results(Path("a/episodes.jsonl"))
    assert {(result.status, result.stage, result.target) for result in results} == {("success", "", None)}
    assert [result.instruction for result in results] == [f"move {result.seed % 3}" for result in results]
    run = RunRecord.read(Path("a"))
    assert run.environment == point_world.SPEC
    assert list(run.policy.needs.keys) == ["position"]


def test_failures_have_the_classes_of_the_environment(capsys):
    assert rollout.main(["--model", "zero", *FEW[2:], "--output", "run"]) == 0
    assert "never_arrived      6" in capsys.readouterr().out
    assert RunRecord.read(Path("run")).summary.failures == {"never_arrived": 6}


def test_a_policy_gets_the_keys_that_it_asks_for(seeing):
    for name, workers in (("a", "1"), ("b", "2")):
        assert rollout.main(["--model", seeing, *FEW[2:], "--workers", workers, "--output", name]) == 0
    assert Path("a/episodes.jsonl").read_bytes() == Path("b/episodes.jsonl").read_bytes()
    for receipt in (*read_receipts(Path("a")), *read_receipts(Path("b"))):
        assert (list(receipt.vectors), list(receipt.images)) == (["position"], ["front"])
        assert receipt.instruction == f"move {receipt.seed % 3}"
        assert np.shape(receipt.actions) == (2, 2)


def test_a_run_is_filmed_and_traced(capsys):
    assert rollout.main([*FEW, "--video", "2", "--output", "run"]) == 0
    assert "videos               run/videos, 2 files" in capsys.readouterr().out
    for result in read_results(Path("run/episodes.jsonl"))[:2]:
        name = f"episode_{result.episode_index:06d}"
        assert imageio_ffmpeg.count_frames_and_secs(f"run/videos/{name}.mp4")[0] == result.steps + 1
        with np.load(f"run/traces/{name}.npz") as trace:
            assert trace["observation.position"].shape == trace["executed_action"].shape == (result.steps, 2)
            assert set(trace["stage"]) == {""}
            assert list(trace["success"]) == [False] * (result.steps - 1) + [True]
    assert len(files_in("run")) == 3 + 4


@pytest.mark.slow
def test_what_is_collected_can_be_replayed_and_learned_from(capsys):
    collecting = [*HOMING, "--episodes", "12", "--image-size", "8"]
    assert collect.main([*collecting, "--output", "data"]) == 0
    assert collect.main([*collecting, "--workers", "2", "--output", "again"]) == 0
    dataset = Dataset("data")
    assert {one.sha256 for one in dataset.episodes} == {one.sha256 for one in Dataset("again").episodes}
    assert (list(dataset.needs.vectors), dict(dataset.needs.cameras)) == (["position", "goal"], {"front": (8, 8)})
    episode = load_file(next(Path("data/episodes").iterdir()))
    assert episode["action"].shape[1:] == episode["observation.position"].shape[1:] == (2,)
    assert episode["observation.images.front"].shape[1:] == (8, 8, 3)
    capsys.readouterr()
    assert collect.main(["--verify", "data"]) == 0
    assert "replayed alike       12/12   100.0 %" in capsys.readouterr().out

    training = ["--steps", "100", "--threads", "1", "--no-image", "--learning-rate", "0.01", "--warmup-steps", "5"]
    model = ["--model-arguments", "hidden_dim=32", "dropout=0", "--validation-fraction", "0"]
    assert simscaleai.train.main(["--model", "bc", "--dataset", "data", "--output", "bc", *training, *model]) == 0
    flags = ["--model", "bc", "--checkpoint", "bc", *FEW[2:]]
    assert rollout.main([*flags, "--output", "here"]) == 0
    assert rollout.main([*flags, "--workers", "2", "--output", "there"]) == 0
    assert Path("here/episodes.jsonl").read_bytes() == Path("there/episodes.jsonl").read_bytes()
    assert RunRecord.read(Path("here")).summary.successes == 6


def test_chosen_seeds_are_filmed(capsys):
    assert record.main([*HOMING, "--seeds", "3", "4", "--size", "64", "--output", "videos"]) == 0
    assert "videos/episode_000001.mp4  seed 4: success after" in capsys.readouterr().out
    assert files_in("videos") == ["episode_000000.mp4", "episode_000001.mp4"]
    assert record.main([*HOMING, "--grid", "2x2", "--size", "64", "--output", "wall.gif"]) == 0
    assert "wall.gif  4 of 4 succeeded" in capsys.readouterr().out
    assert Path("wall.gif").stat().st_size


def test_runs_are_compared_and_reported(capsys):
    assert rollout.main(["--model", "zero", *FEW[2:], "--output", "zero"]) == 0
    assert rollout.main([*FEW, "--output", "homing"]) == 0
    capsys.readouterr()
    assert compare.main(["zero", "homing"]) == 0
    out = capsys.readouterr().out
    assert "episodes             Test/Point-v0, 6 episodes, seeds 3000000000 to 3000000005" in out
    assert "verdict              B is better than A" in out
    assert report.main(["zero", "homing", "--output", "report.html"]) == 0
    page = Path("report.html").read_text()
    assert "Test/Point-v0" in page
    assert "6 successes in 6 episodes" in page
    for word in ("cube", "gripper", "finger pad", "end effector", "lifted", "SimScale/"):  # of the tabletop
        assert word not in page
    assert report.main(["homing", "--format", "json", "--output", "report.json"]) == 0
    (run,) = json.loads(Path("report.json").read_text())["runs"]
    assert (run["environment"], run["summary"]["successes"]) == ("Test/Point-v0", 6)


def test_it_needs_no_mujoco(workdir, monkeypatch):
    """A module that raises when it is imported stands in front of MuJoCo."""
    (workdir / "mujoco.py").write_text("raise ImportError('MuJoCo is not needed')\n")
    words = [sys.executable, "-m", "eval.rollout", *FEW, "--workers", "2", "--json", "--output", "run"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["summary"]["successes"] == 6
