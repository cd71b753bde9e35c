"""The commands as users meet them: what they print, what they leave, and how they end."""

import os
import re
import resource
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import imageio_ffmpeg
import point_world
import pytest

from envs.registration import find_environment
from eval import __main__, collect, record, rollout
from eval.runs.log_file import read_results
from eval.runs.record import RunRecord
from eval.runs.schema.conditions import Resolved
from simscaleai.data import Dataset

ROOT = Path(__file__).resolve().parents[2]
FEW = ["--env", "reach", "--episodes", "3", "--seed", "3000000000"]


@pytest.fixture
def policy_module(workdir, monkeypatch):
    """Makes a policy for `--model` from the body of its method predict(self, observation, slots)."""

    def write(name, body):
        lines = "\n".join(f"        {line}" for line in body.splitlines())
        (workdir / f"{name}.py").write_text(
            "import numpy as np\nfrom policies.scripted.controls import ZeroPolicy\n\n\n"
            f"class Policy(ZeroPolicy):\n    def predict(self, observation, slots):\n{lines}\n"
        )
        monkeypatch.syspath_prepend(str(workdir))
        return f"{name}:Policy"

    return write


def test_rollout_leaves_a_run_folder_and_says_where(workdir, capsys):
    assert rollout.main(["--model", "scripted", *FEW, "--output", "runs/x"]) == 0
    out = capsys.readouterr().out
    assert "scripted in SimScale/Reach-v0: 3 episodes, seeds 3000000000 to 3000000002" in out
    assert "success once         3/3   100.0 %   95 % interval [43.9, 100.0] (Wilson)" in out
    assert re.search(r"^record +runs/x/run\.json$", out, re.MULTILINE)
    results = read_results(Path("runs/x/episodes.jsonl"))
    assert [(result.episode_index, result.seed) for result in results] == [(i, 3_000_000_000 + i) for i in range(3)]
    run = RunRecord.read(Path("runs/x"))
    assert run.config["model"] == "scripted"
    assert run.resolved == Resolved(environment="SimScale/Reach-v0", num_envs=3, workers=1, episodes=3)
    assert run.summary.successes == 3
    assert run.timing.seconds > 0
    assert run.fingerprint["libraries"]["mujoco"]
    assert run.fingerprint["gl_renderer"] is None
    assert run.environment == find_environment("reach").offer()
    assert run.policy.model == "scripted"
    assert len(run.policy.identity) == 64
    assert sorted(path.name for path in Path("runs/x").iterdir()) == ["episodes.jsonl", "receipts.json", "run.json"]


@pytest.mark.parametrize(
    ("options", "num_envs"),
    [
        ("--episodes 300", 256),
        ("--episodes 40", 40),
        ("--episodes 5 --workers 2", 3),  # neither has to take what the other could run
        ("--episodes 300 --num-envs 7", 7),
        ("--until-width 30pp", 16),
    ],
)
def test_so_many_episodes_run_side_by_side(workdir, capsys, options, num_envs):
    command = ["--model", "scripted", "--env", "reach", "--seed", "3000000000", *options.split()]
    assert rollout.main([*command, "--output", "runs/x"]) == 0
    assert f"{num_envs} at a time" in capsys.readouterr().out
    assert RunRecord.read(Path("runs/x")).resolved.num_envs == num_envs


def test_the_same_command_gives_the_same_bytes(workdir):
    for name, num_envs in (("a", "1"), ("b", "3")):
        assert rollout.main(["--model", "random", *FEW, "--num-envs", num_envs, "--output", name]) == 0
    assert Path("a/episodes.jsonl").read_bytes() == Path("b/episodes.jsonl").read_bytes()


def test_the_closing_table_ends_with_the_command_for_the_first_failure(workdir, monkeypatch, capsys):
    (workdir / "lazy.py").write_text(
        "from policies.registry import make_policy\n\n\n"
        "class Policy:\n"
        "    def __init__(self, spec):\n"
        "        self.expert = make_policy('scripted', spec=spec)\n"
        "        self.needs = self.expert.needs\n\n"
        "    def reset(self, slots, seeds, instructions):\n"
        "        self.lazy = 3000000007 in seeds\n\n"
        "    def predict(self, observation, slots):\n"
        "        return self.expert.predict(observation, slots) * (not self.lazy)\n"
    )
    monkeypatch.syspath_prepend(str(workdir))
    flags = ["--model", "lazy:Policy", "--env", "reach", "--no-terminate-on-success", "--num-envs", "1"]
    assert rollout.main([*flags, "--seeds", "3000000008", "3000000007", "3000000009", "--output", "run"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    results = read_results(Path("run/episodes.jsonl"))
    assert [result.status for result in results] == ["success", "failure", "success"]
    name, *command = shlex.split(last)
    assert (name, command[:3]) == ("replay", ["python", "-m", "eval.rollout"])
    assert rollout.main([*command[3:], "--output", "again"]) == 0
    (again,) = read_results(Path("again/episodes.jsonl"))
    assert again == replace(results[1], episode_index=0)


def test_of_successes_the_first_is_replayed_and_of_nothing_nothing(workdir, capsys):
    assert rollout.main(["--model", "scripted", *FEW, "--workers", "2", "--output", "run"]) == 0
    out = capsys.readouterr().out
    assert out.endswith("replay               python -m eval.rollout --env reach --model scripted --seeds 3000000000\n")
    assert re.search(r"^smallest difference +none is detectable: 3 episodes are too few$", out, re.MULTILINE)


def test_default_output_is_the_next_free_number(workdir):
    for _ in range(2):
        assert rollout.main(["--model", "scripted", *FEW]) == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["scripted-reach-001", "scripted-reach-002"]


def test_python_call_returns_the_record_on_disk(workdir):
    config = rollout.RolloutConfig(model="zero", env="reach", seeds=(5, 9), output=Path("run"))
    run = rollout.run(config)
    assert run == RunRecord.read(Path("run"))
    assert [result.seed for result in read_results(Path("run/episodes.jsonl"))] == [5, 9]
    assert run.summary.failures


def test_an_interrupted_run_keeps_and_sums_up_what_has_ended(policy_module, capsys):
    policy = policy_module(
        "interrupting",
        "self.steps = getattr(self, 'steps', 0) + 1\n"
        "if self.steps > 70:\n    raise KeyboardInterrupt\n"
        "return np.full((len(slots), 1, 4), np.nan if self.steps == 1 else 0, dtype=np.float32)",
    )
    assert rollout.main(["--model", policy, *FEW, "--num-envs", "1", "--output", "run"]) == 130
    assert len(read_results(Path("run/episodes.jsonl"))) in (1, 2)
    assert RunRecord.read(Path("run")).summary.failures["invalid_action"] == 1
    assert re.search(r"incomplete +\d of 3 planned episodes count", capsys.readouterr().out)


def test_a_run_that_is_interrupted_before_an_episode_ends_names_no_file_that_is_not_there(policy_module, capsys):
    policy = policy_module("interrupting_at_once", "raise KeyboardInterrupt")
    assert rollout.main(["--model", policy, *FEW, "--output", "run"]) == 130
    out = capsys.readouterr().out
    assert "run/run.json" in out
    assert "run/episodes.jsonl" not in out
    assert "eval.report" not in out


def test_a_policy_that_raises_loses_its_episodes_and_the_run_completes(policy_module, caplog):
    policy = policy_module("raising", "raise RuntimeError('no idea')")
    assert rollout.main(["--model", policy, *FEW, "--output", "run"]) == 0
    assert RunRecord.read(Path("run")).summary.failures == {"policy_exception": 3}
    assert "no idea" in caplog.text


def test_an_episode_that_cannot_be_run_is_exit_code_1(workdir, point_environment, monkeypatch):
    monkeypatch.setattr(point_world, "BROKEN_SEEDS", {1})
    flags = ["--model", "point_world:Homing", "--env", "point", "--episodes", "3"]
    assert rollout.main([*flags, "--output", "run"]) == 1
    assert RunRecord.read(Path("run")).summary.errors == 1


def test_a_bug_of_ours_ends_with_a_traceback_and_a_code_of_its_own(workdir, point_environment, monkeypatch, capsys):
    """Exit code 1 says that some episodes are errors; Python's own exit code for a traceback would say so, too."""
    monkeypatch.setattr(point_world.PointEnv, "fingerprint", lambda self: 1 / 0)
    flags = ["--model", "point_world:Homing", "--env", "point", "--episodes", "3"]
    assert rollout.main([*flags, "--output", "run"]) == 70
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_videos_of_a_run_and_of_chosen_seeds(workdir, capsys):
    assert rollout.main(["--model", "scripted", *FEW, "--output", "run", "--video", "1"]) == 0
    (result, *_) = read_results(Path("run/episodes.jsonl"))
    assert [path.name for path in Path("run/videos").iterdir()] == ["episode_000000.mp4"]
    assert imageio_ffmpeg.count_frames_and_secs("run/videos/episode_000000.mp4")[0] == result.steps + 1
    arguments = ["--model", "scripted", "--env", "reach", "--seeds", "3000000000", "--output", "videos", "--size", "64"]
    assert record.main(arguments) == 0
    frames, _ = imageio_ffmpeg.count_frames_and_secs("videos/episode_000000.mp4")
    assert frames == result.steps + 1
    assert f"seed 3000000000: success after {result.steps} steps" in capsys.readouterr().out


def test_collected_episodes_do_not_depend_on_the_number_of_slots(workdir):
    for name, num_envs in (("a", "1"), ("b", "4")):
        arguments = ["--env", "reach", "--episodes", "4", "--cameras", "--action-noise", "0.2", "--num-envs", num_envs]
        assert collect.main([*arguments, "--output", name]) == 0
    assert {r.episode_index: r.sha256 for r in Dataset("a").episodes} == {
        r.episode_index: r.sha256 for r in Dataset("b").episodes
    }


def seconds_of_children():
    """Returns the processor time of the processes that have ended [s], which other processes hardly change."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    "command", ["eval.rollout", "eval.collect", "eval.record", "eval.compare", "eval", "envs", "policies"]
)
def test_help_is_quick(command):
    began = seconds_of_children()
    done = subprocess.run(
        [sys.executable, "-m", command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "usage:" in done.stdout
    assert command != "eval.compare" or "not comparable" in done.stdout  # an exit code
    assert seconds_of_children() - began < 2.0


def test_console_script_mirrors_the_commands(workdir):
    assert __main__.main(["rollout", "--model", "zero", *FEW, "--output", "run"]) == 0
    assert RunRecord.read(Path("run")).summary.episodes == 3
    assert __main__.main([]) == 2


def test_console_script_finds_modules_of_the_working_directory(workdir):
    (workdir / "still.py").write_text("def act(observation):\n    return [0, 0, 0, 0]\n")
    (workdir / "envs.py").write_text("raise RuntimeError('this hides a package')\n")
    script = "import sys; from eval.__main__ import main; sys.exit(main())"
    words = ["rollout", "--model", "still:act", *FEW, "--quiet", "--output", "run"]
    path = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-P", "-c", script, *words], check=True, env=path)
    assert RunRecord.read(Path("run")).policy.model == "still:act"


@pytest.mark.parametrize(("command", "shown"), [("envs", "SimScale/PickPlace-v0"), ("policies", "scripted")])
def test_console_script_lists_what_there_is(workdir, capsys, command, shown):
    assert __main__.main([command]) == 0
    assert shown in capsys.readouterr().out


def test_more_videos_than_episodes_are_a_video_of_each(workdir, point_environment):
    flags = ["--env", "point", "--model", "point_world:Homing", "--episodes", "2", "--output", "r"]
    assert rollout.main([*flags, "--video", str(10**12)]) == 0
    assert len(list(Path("r/videos").iterdir())) == len(list(Path("r/traces").iterdir())) == 2


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_run_that_cannot_be_filmed_is_refused_before_anything_is_written(
    workdir, point_package, monkeypatch, capsys, workers
):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere")
    flags = ["--env", "point", "--model", "point_world:Homing", "--video", "1", "--workers", workers, "--output", "r"]
    assert rollout.main(flags) == 2
    assert record.main(["--env", "point", "--model", "point_world:Homing", "--output", "film.mp4", "--seeds", "1"]) == 2
    for line in capsys.readouterr().err.splitlines():
        assert line.startswith("error: cannot run ffmpeg")
    assert list(workdir.iterdir()) == []
