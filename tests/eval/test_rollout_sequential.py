"""`eval.rollout` that stops when it has seen enough, as users meet it."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace

import pytest

from eval import compare, rollout
from eval.comparison import Run
from eval.flags import command_line
from eval.observers.base import Observer
from eval.plan import EpisodeSpec
from eval.planning import plan_run
from eval.power import independent_discordance, mcnemar_power
from eval.results import EPISODES_FILE, EpisodeResult, RunRecord, append_result, read_results
from eval.rollout_config import RolloutConfig
from eval.statistics import confidence_sequence
from eval.workers import _Crew

ROOT = Path(__file__).resolve().parents[2]
SEEDS = ["--env", "reach", "--seed", "3000000000"]
SLOW = 3_000_000_007


@pytest.fixture(autouse=True)
def workdir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def sometimes(workdir, monkeypatch):
    """A policy that succeeds, soon, with two seeds of three, and otherwise does nothing until the time is over.

    With one seed it never answers, as long as there is a file `hang`.
    """
    (workdir / "sometimes.py").write_text(
        "import pathlib, time\n"
        "from policies.registry import make_policy\n\n\n"
        "class Policy:\n"
        "    def __init__(self, environment):\n"
        "        self.expert = make_policy('scripted', checkpoint=None, environment=environment)\n"
        "        self.contract, self.needs_observation = self.expert.contract, self.expert.needs_observation\n"
        "        self.idle = {}\n\n"
        "    def reset(self, env_ids, seeds, instructions):\n"
        f"        while {SLOW} in seeds and pathlib.Path('hang').exists():\n"
        "            time.sleep(0.05)\n"
        "        self.idle.update({slot: seed % 3 == 0 for slot, seed in zip(env_ids.tolist(), seeds)})\n"
        "        self.expert.reset(env_ids, seeds, instructions)\n\n"
        "    def act(self, observation, env_ids):\n"
        "        actions = self.expert.act(observation, env_ids)\n"
        "        for row, slot in enumerate(env_ids.tolist()):\n"
        "            actions[row] *= not self.idle[slot]\n"
        "        return actions\n"
    )
    monkeypatch.syspath_prepend(str(workdir))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{workdir}")
    return "sometimes:Policy"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "zero"
    assert rollout.main(["--model", "zero", *SEEDS, "--episodes", "60", "--output", str(folder)]) == 0
    return folder


@pytest.fixture
def zero(finished, workdir):
    """The run to compare with: 60 episodes, none a success."""
    shutil.copytree(finished, "zero")
    return "zero"


def read_bytes(folder):
    return Path(folder, EPISODES_FILE).read_bytes()


def sequential_of(folder):
    return RunRecord.read(Path(folder)).sequential


N = 12
"""Episodes after which `sometimes` has succeeded 8 times where `zero` has not: the evidence is then 2^8 / 9 > 20."""


@pytest.fixture
def against(zero, sometimes):
    """Runs `sometimes` until decided against `zero`; returns the exit code."""
    flags = ["--model", sometimes, "--env", "reach", "--until-decided", "--vs", zero]
    return lambda output, *more: rollout.main([*flags, "--output", output, *more])


def test_any_shape_ends_after_the_same_episodes(against, sometimes):
    shapes = [("1", "1"), ("1", "5"), ("1", "60"), ("2", "3"), ("3", "1")]
    for workers, num_envs in shapes:
        assert against(f"{workers}-{num_envs}", "--workers", workers, "--num-envs", num_envs) == 0
        assert sorted(path.name for path in Path(f"{workers}-{num_envs}").iterdir()) == [EPISODES_FILE, "run.json"]
    assert len({read_bytes("-".join(shape)) for shape in shapes}) == 1
    assert rollout.main(["--model", sometimes, *SEEDS, "--episodes", "60", "--output", "whole"]) == 0
    assert read_results(Path("1-1", EPISODES_FILE)) == read_results(Path("whole", EPISODES_FILE))[:N]


def test_what_it_says_of_the_comparison(against, capsys):
    against("run")
    out = capsys.readouterr().out
    assert f"at most 60 episodes, seeds {3_000_000_000} to {3_000_000_059}, until decided at 5% against zero" in out
    assert "success once         8/12   66.7 %   95 % interval [" in out
    assert "(confidence sequence, valid under stopping)" in out
    assert (
        "stopping             at 0.05 against zero (A); the run ended after 12 of at most 60 episodes; 48 saved" in out
    )
    assert "1/e                  0.035, 0.05 or less decides (anytime-valid, two-sided, 8 discordant pairs)" in out
    assert "verdict              B is better than A" in out
    for word in ("Wilson", "Newcombe", "McNemar", "could have seen", "incomplete"):
        assert word not in out
    record = RunRecord.read(Path("run"))
    low, high = record.sequential.pop("difference_sequence_95")
    assert 0 < low < 8 / 12 < high
    assert record.sequential.pop("vs")["folder"] == "zero"
    assert record.sequential == {
        "rule": "until_decided",
        "threshold": pytest.approx(0.05),
        "limit": 60,
        "episodes": 12,
        "decided": True,
        "saved": 48,
        "verdict": "better",
        "pairs": {"both": 0, "only_a": 0, "only_b": 8, "neither": 4},
        "difference": pytest.approx(8 / 12),
        "inverse_e_value": pytest.approx(9 / 256),
    }
    summary = record.summary
    assert summary["wilson_95"] is summary["at_least_95"] is summary["smallest_difference"] is None
    assert summary["confidence_sequence_95"] == pytest.approx(list(confidence_sequence(8, 12)[:2]))


def test_undecided_at_the_limit_is_said(against, capsys):
    assert against("run", "--episodes", "9") == 0
    out = capsys.readouterr().out
    assert "the run was still undecided after 9 of at most 9 episodes" in out
    assert "verdict              cannot tell" in out
    assert "9 episodes did not suffice, and that they are equal is not shown" in out
    assert {name: sequential_of("run")[name] for name in ("decided", "saved", "verdict")} == {
        "decided": False,
        "saved": 0,
        "verdict": "cannot tell",
    }
    assert compare.main(["zero", "run"]) == 2


def test_its_own_seeds_may_be_named_and_begin_in_the_middle_of_no_plan(zero, sometimes, capsys):
    flags = ["--model", sometimes, "--env", "reach", "--until-decided", "--vs", zero]
    assert rollout.main([*flags, "--seed", "3000000000", "--episodes", "20", "--output", "run"]) == 0
    assert sequential_of("run")["limit"] == 20
    for wrong in (["--seed", "3000000001"], ["--seeds", "3000000001", "3000000000"], ["--episodes", "61"]):
        capsys.readouterr()
        assert rollout.main([*flags, *wrong, "--output", "other"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert (
            "expected the episodes of zero, 60 episodes, seeds 3000000000 to 3000000059, or the first of them" in line
        )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--until-decided"], "expected --vs with --until-decided"),
        (["--vs", "a"], "expected --until-decided or --detect with --vs"),
        (["--until-decided", "--vs", "nowhere"], "expected a run folder with run.json, got nowhere"),
        (["--until-decided", "--vs", "a", "--until-width", "5pp"], "--until-width or --until-decided, got both"),
        (["--detect", "10pp", "--episodes", "50"], "expected --detect or --episodes, got both"),
        (["--detect", "10pp", "--seeds", "1", "2"], "expected --detect or --seeds, got both"),
        (["--detect", "10pp", "--until-width", "5pp"], "expected --detect or --until-width, got both"),
        (["--detect", "0.1pp"], "20000 episodes do not suffice to see a difference of 0.1 pp"),
        (["--detect", "60pp", "--vs", "a"], "expected a complete run with --vs"),
        (["--until-width", "0.1pp"], "say with --episodes how many there may be"),
        (["--until-decided", "--vs", "a"], "expected a complete run with --vs, a has 2 of 3 episodes"),
        (["--until-decided", "--vs", "b"], "environment: A has SimScale/Reach-v0, B has SimScale/PickPlace-v0"),
    ],
)
def test_contradictions_are_one_line(capsys, flags, message):
    few = ["--model", "zero", "--env", "reach", "--episodes", "3"]
    for name in "ab":
        assert rollout.main([*few, "--output", name]) == 0
    path = Path("a", EPISODES_FILE)
    path.write_bytes(path.read_bytes()[:-5])
    capsys.readouterr()
    assert rollout.main(["--model", "zero", "--env", "pick-place", *flags, "--output", "run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not Path("run").exists() or not list(Path("run").iterdir())


def test_a_reference_with_errors_is_refused_before_anything_hinges_on_them(against, capsys):
    path = Path("zero", EPISODES_FILE)
    path.write_text(path.read_text().replace('"status": "failure"', '"status": "error"', 2))
    assert against("run") == 2
    assert "2 episodes of zero could not be run, and nothing may hinge on them" in capsys.readouterr().err


def test_another_success_is_another_task(zero, capsys):
    flags = ["--model", "zero", "--env", "reach", "--no-terminate-on-success", "--until-decided", "--vs", zero]
    assert rollout.main(flags) == 2
    assert "not comparable with zero (A) of --vs: ends at success: A has True, B has False" in capsys.readouterr().err


def test_until_a_width(capsys):
    flags = ["--model", "zero", *SEEDS, "--until-width", "20pp"]
    assert rollout.main([*flags, "--output", "run"]) == 0
    out = capsys.readouterr().out
    n = next(n for n in range(60) if confidence_sequence(0, n).high <= 0.2)
    assert "at most 298 episodes, seeds 3000000000 to 3000000297, until the 95% interval is at most 20.0 pp wide" in out
    width = f"{100 * confidence_sequence(0, n).high:.1f}"
    assert f"interval {width} pp wide, 20.0 pp wanted; the run ended after {n} of at most 298" in out
    assert f"{298 - n} saved" in out
    assert sequential_of("run")["saved"] == 298 - n
    assert rollout.main([*flags, "--episodes", "5", "--output", "few"]) == 0
    assert "20.0 pp wanted; the run was still undecided after 5 of at most 5 episodes" in capsys.readouterr().out


@pytest.mark.parametrize("workers", ["1", "2"])
def test_of_dropped_episodes_neither_film_nor_receipt_is_left(workers):
    """The third ends before the second, and the second is the last that counts."""
    flags = ["--model", "scripted", "--env", "reach", "--seeds", "3000000004", "3000000003", "3000000000"]
    shape = ["--workers", workers, "--num-envs", "3", "--video", "3"]
    assert rollout.main([*flags, *shape, "--until-width", "0.9", "--output", "run"]) == 0
    n = sequential_of("run")["episodes"]
    assert n == 2
    assert sorted(path.name for path in Path("run/videos").iterdir()) == ["episode_000000.mp4", "episode_000001.mp4"]
    assert [receipt["episode_index"] for receipt in RunRecord.read(Path("run")).receipts] == [0, 1]
    assert sorted(path.name for path in Path("run").iterdir()) == [EPISODES_FILE, "run.json", "videos"]


def lines(folder):
    path = Path(folder, EPISODES_FILE)
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.parametrize(("workers", "at"), [("1", 7), ("2", 30)])
def test_a_killed_run_resumes_to_the_bytes_of_an_uninterrupted_one(against, sometimes, workers, at):
    """With two workers, all episodes but the hanging one go on, far beyond where the run will end."""
    Path("hang").touch()
    flags = ["--env", "reach", "--until-decided", "--vs", "zero", "--num-envs", "1", "--workers", workers]
    command = [sys.executable, "-m", "eval.rollout", "--model", sometimes, *flags, "--output", "killed"]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while lines("killed") < at:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert lines("killed") >= at
    Path("hang").unlink()
    assert against("killed", "--resume") == 0
    assert against("whole") == 0
    assert read_bytes("killed") == read_bytes("whole")
    assert lines("whole") == N


def test_a_resumed_run_that_is_decided_runs_nothing_and_drops_the_rest(against, sometimes, monkeypatch, capsys):
    from envs.vector_env import TaskVectorEnv

    against("run")
    whole = read_bytes("run")
    rollout.main(["--model", sometimes, *SEEDS, "--episodes", "20", "--output", "more"])
    for result in read_results(Path("more", EPISODES_FILE))[N + 2 :]:
        append_result(Path("run", EPISODES_FILE), result)
    monkeypatch.setattr(TaskVectorEnv, "step", None)
    monkeypatch.setattr("eval.workers._Worker", None)
    for workers in ("1", "2"):
        capsys.readouterr()
        assert against("run", "--resume", "--workers", workers) == 0
        assert "run: complete, nothing to resume" in capsys.readouterr().out
        assert read_bytes("run") == whole
    assert sequential_of("run")["saved"] == 48


def test_an_interrupted_run_counts_its_first_episodes_only(against, sometimes, monkeypatch, capsys):
    """Episode 3 fails, after 50 steps; those beside it succeed, one after the other."""
    from envs.vector_env import TaskVectorEnv

    step, steps = TaskVectorEnv.step, []

    def interrupted(self, *args, **kwargs):
        steps.append(1)
        if len(steps) == 45:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as context:
        context.setattr(TaskVectorEnv, "step", interrupted)
        assert against("run", "--num-envs", "3") == 130
    assert lines("run") == 4
    assert (sequential_of("run")["episodes"], sequential_of("run")["decided"]) == (0, False)
    assert RunRecord.read(Path("run")).summary["confidence_sequence_95"] == [0.0, 1.0]
    out = capsys.readouterr().out
    assert "incomplete           0 of 60 planned episodes count" in out
    assert "verdict" not in out
    assert compare.main(["zero", "run"]) == 3
    (command,) = re.findall(r"^continue with +python -m eval.rollout (.*)$", out, re.MULTILINE)
    assert rollout.main(shlex.split(command)) == 0
    assert lines("run") == N


def test_another_reference_is_refused_on_resume(against, capsys):
    against("run")
    path = Path("zero", EPISODES_FILE)
    path.write_text(path.read_text().replace('"failure"', '"success"', 1))
    assert against("run", "--resume") == 2
    assert re.search(r'  vs: was "[0-9a-f]{64}", is "[0-9a-f]{64}"', capsys.readouterr().err)


def test_a_moved_reference_is_the_same(against):
    against("run")
    whole = read_bytes("run")
    Path("zero").rename("moved")
    flags = ["--model", "sometimes:Policy", "--env", "reach", "--until-decided", "--vs", "moved"]
    assert rollout.main([*flags, "--output", "run", "--resume"]) == 0
    assert read_bytes("run") == whole


def test_compare_takes_such_runs_and_says_so(against, capsys):
    against("run")
    capsys.readouterr()
    assert compare.main(["zero", "run"]) == 0
    out = capsys.readouterr().out
    assert "episodes             SimScale/Reach-v0, 12 episodes, seeds 3000000000 to 3000000011" in out
    assert "sequential           B ended after 12 of at most 60 episodes; 48 saved" in out
    assert "compared             the first 12 episodes, which both have" in out
    assert compare.main(["zero", "run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["p_value"] is found["newcombe_95"] is found["smallest_difference"] is found["b"]["wilson_95"] is None
    assert found["inverse_e_value"] == pytest.approx(9 / 256)
    assert found["a"]["sequential"] is None
    assert found["b"]["sequential"]["saved"] == 48


@pytest.mark.parametrize("rate", [None, 0.0, 2 / 3])
def test_detect_plans_what_the_test_needs(against, zero, sometimes, capsys, rate):
    vs = []
    if rate is not None:
        model = "zero" if rate == 0 else sometimes
        assert rollout.main(["--model", model, *SEEDS, "--episodes", "30", "--output", "a"]) == 0
        vs = ["--vs", "a"]
    capsys.readouterr()
    assert rollout.main(["--model", "zero", *SEEDS, "--detect", "30pp", *vs, "--output", "run"]) == 0
    out = capsys.readouterr().out
    n = RunRecord.read(Path("run")).resolved["episodes"]
    pairs = {None: [(0.35, 0.65)], 0.0: [(0, 0.3)]}.get(rate, [(2 / 3, 2 / 3 - 0.3), (2 / 3, 2 / 3 + 0.3)])
    powers = [[mcnemar_power(m, 0.3, independent_discordance(*pair)) for pair in pairs] for m in (n, n - 1)]
    assert min(powers[0]) >= 0.8 > min(powers[1])
    around = (
        "whatever their rates, in the hardest case" if rate is None else f"that succeeds like a, {100 * rate:.1f} %"
    )
    assert f"{n} episodes see a difference of 30.0 pp with 80 % power" in out
    assert around in out
    assert ("run that policy on the same seeds" in out) == (rate is not None)
    assert RunRecord.read(Path("run")).sequential is None
    assert RunRecord.read(Path("run")).summary["wilson_95"]


def test_a_difference_that_no_rate_has_is_refused(zero, capsys):
    rollout.main(["--model", "scripted", *SEEDS, "--episodes", "4", "--output", "half", "--seed", "0"])
    path = Path("half", EPISODES_FILE)
    path.write_text(path.read_text().replace('"success"', '"failure"', 2))
    assert rollout.main(["--model", "zero", "--env", "reach", "--detect", "60pp", "--vs", "half"]) == 2
    assert "no rate differs by 60.0 pp from that of --vs; give a smaller --detect" in capsys.readouterr().err


def test_without_choices_there_are_fifty_episodes_from_seed_0():
    specs = plan_run(RolloutConfig(model="zero")).specs
    assert specs == tuple(EpisodeSpec(index, index) for index in range(50))


def test_a_command_line_says_the_rule():
    config = RolloutConfig(model="zero", until_width=0.05, episodes=200)
    assert command_line("x", config) == "x --model zero --episodes 200 --until-width 0.05"


def test_a_crew_that_loses_episodes_says_so_instead_of_waiting_for_ever():
    crew = _Crew(None, [EpisodeSpec(0, 0)], 1, [])
    crew._waiting.clear()
    with pytest.raises(RuntimeError, match="1 episodes were lost"):
        crew.run()


def test_a_result_that_is_under_way_when_enough_is_seen_comes_before_the_end_of_the_run():
    """After it, a line would be added to the record that is complete."""
    told = []

    class Diary(Observer):
        def on_episode_end(self, slot, result):
            told.append(result.episode_index)
            self.has_seen_enough = True

        def on_run_end(self, results):
            told.append("end")

    connection, theirs = Pipe()
    worker = SimpleNamespace(
        connection=connection,
        process=SimpleNamespace(terminate=lambda: None),
        stop=lambda: None,
        specs={0: None, 1: None},
        solitary=False,
    )
    crew = _Crew(None, [EpisodeSpec(index, index) for index in range(5)], 1, [Diary()])
    crew._workers[connection] = worker
    for index in (1, 0):
        theirs.send(replace(some_result(), episode_index=index))
    assert [result.episode_index for result in crew.run()] == [0, 1]
    assert told == [1, 0, "end"]


def some_result():
    text = ("instruction", "stage", "digest")
    values = dict.fromkeys(EpisodeResult.__dataclass_fields__, 0) | dict.fromkeys(text, "") | {"status": "success"}
    return EpisodeResult(**values)


def test_the_run_that_it_names_can_be_read(against):
    against("run")
    run = Run.read(Path("run"))
    assert (run.is_complete, run.planned, len(run.results)) == (True, 12, 12)
