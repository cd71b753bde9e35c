"""Several tasks in one run: plan, results for each task, resume, workers, comparison, report."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from envs.registration import find_environment
from envs.slots import Start, check_slots
from eval import collect, compare, record, rollout
from eval.episodes.plan import over_tasks, plan_episodes, plan_text
from eval.report import __main__ as report
from eval.runs.log_file import read_results
from eval.runs.reading import read_run
from eval.runs.record import RunRecord
from eval.statistics.multiplicity import holm
from simscaleai.contract import differences
from simscaleai.errors import SimScaleError

PICK_PLACE, LANGUAGE = "SimScale/PickPlace-v0", "SimScale/PickPlaceLanguage-v0"
SUITE = ["--env", "pick-place,pick-place-language"]

POLICY = """
import numpy as np

class Lucky:
    needs = {}

    def __init__(self, luck=0.5):
        self.luck = luck

    def reset(self, seed, instruction):
        self.draw = np.random.default_rng(seed).uniform()

    def act(self, observation):
        return np.full(2, np.nan) if self.draw > self.luck else [1.0, 0.0]
"""

WORLD = """
import gymnasium as gym
import numpy as np

class Push(gym.Env):
    def __init__(self, needed=1):
        self.observation_space = gym.spaces.Box(-9, 9, (1,), np.float32)
        self.action_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.needed = needed

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.float32(self.np_random.uniform(-1, 1, 1)), {}

    def step(self, action):
        self.steps += 1
        return np.float32([self.steps]), 1.0, self.steps >= self.needed, False, {}
"""
PUSH = ["--success", "terminated", "--max-episode-steps", "4"]


@pytest.fixture(autouse=True)
def workdir(tmp_path, monkeypatch):
    import os
    import sys

    (tmp_path / "pushes.py").write_text(WORLD)
    (tmp_path / "lucky.py").write_text(POLICY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    root = Path(__file__).resolve().parents[2]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(root)]))
    yield tmp_path
    for name in ("pushes", "lucky"):
        sys.modules.pop(name, None)


def pushes(*needed):
    return ",".join(f"pushes:Push?needed={each}" for each in needed)


def test_the_tasks_take_turns_with_the_same_seeds():
    plan = over_tasks(plan_episodes(2, 5), ["a", "b", "c"])
    assert [(spec.episode_index, spec.seed, spec.task) for spec in plan] == [
        (0, 5, "a"), (1, 5, "b"), (2, 5, "c"), (3, 6, "a"), (4, 6, "b"), (5, 6, "c"),
    ]  # fmt: skip
    assert plan_text(plan) == "3 tasks, each with 2 episodes, seeds 5 to 6"
    assert plan[1].start_options == {"task": "b"}


def test_a_suite_keeps_the_promises_of_slots():
    registration = find_environment("pick-place,pick-place-language")
    spec = registration.offer()
    assert registration.tasks == (PICK_PLACE, LANGUAGE)
    assert spec.tasks.keys() == {PICK_PLACE, LANGUAGE}
    assert spec.max_episode_steps == 150
    assert "environment_state" not in spec.vectors  # it differs between the tasks
    env = registration.make(3, spec.needs("state"), True, None)
    check_slots(env)
    env.close()


def test_an_episode_of_a_suite_is_that_of_its_task_alone():
    suite, alone = find_environment("pick-place,pick-place-language"), find_environment("pick-place")
    needs, slots = alone.offer().needs("state"), np.arange(2)
    mixed, single = suite.make(2, needs, True, None), alone.make(2, needs, True, None)
    mixed.reset(slots, [Start(3, {"task": LANGUAGE}), Start(4, {"task": PICK_PLACE})])
    single.reset(slots, [Start(3), Start(4)])
    for _ in range(3):
        assert mixed.state(slots)[1] == single.state(slots)[1]
        assert mixed.state(slots)[0] != single.state(slots)[0]
        for env in (mixed, single):
            env.step(slots, np.full((2, 4), 0.3, np.float32))
    mixed.close()
    single.close()


def test_a_policy_of_a_suite_serves_each_of_its_tasks_and_not_the_other_way_round():
    suite, alone = find_environment("pick-place,pick-place-language").offer(), find_environment("pick-place").offer()
    assert differences(suite.needs("state"), alone) == []
    assert differences(suite.needs("state"), suite) == []
    assert "policy serves SimScale/PickPlace-v0" in differences(alone.needs("state"), suite)[0]


def test_a_run_has_figures_of_each_task_and_the_stratified_average(capsys):
    flags = ["--model", "lucky:Lucky", "--env", pushes(1, 9), *PUSH, "--episodes", "20", "--output", "run"]
    assert rollout.main(flags) == 0
    summary = RunRecord.read(Path("run")).summary
    easy, hard = summary.tasks.values()
    assert (easy.episodes, hard.episodes, hard.successes) == (20, 20, 0)
    assert 5 <= easy.successes <= 15
    assert summary.success_rate == easy.successes / 40
    assert summary.interval[1] - summary.interval[0] < summary.wilson_95[1] - summary.wilson_95[0]
    said = capsys.readouterr().out
    assert "2 tasks, each with 20 episodes, seeds 0 to 19" in said
    assert "(average of 2 tasks, stratified)" in said
    replay = shlex.split(next(line for line in said.splitlines() if line.startswith("replay")))[4:]
    assert rollout.main([*replay, "--output", "again", "--quiet"]) == 0
    again = read_results(Path("again/episodes.jsonl"))[0]
    first_failure = next(each for each in read_results(Path("run/episodes.jsonl")) if each.status != "success")
    assert (again.seed, again.digest) == (first_failure.seed, first_failure.digest)


def test_workers_and_resume_give_the_same_lines():
    flags = ["--model", "lucky:Lucky", "--env", pushes(1, 2, 9), *PUSH, "--episodes", "4"]
    assert rollout.main([*flags, "--output", "a", "--num-envs", "1"]) == 0
    assert rollout.main([*flags, "--output", "b", "--workers", "2", "--num-envs", "2", "--quiet"]) == 0
    lines = Path("a/episodes.jsonl").read_text().splitlines(keepends=True)
    assert sorted(Path("b/episodes.jsonl").read_text().splitlines(keepends=True)) == sorted(lines)
    Path("a/episodes.jsonl").write_text("".join(lines[:5]))
    assert rollout.main([*flags, "--output", "a", "--resume", "--quiet"]) == 0
    assert sorted(Path("a/episodes.jsonl").read_text().splitlines(keepends=True)) == sorted(lines)


def test_runs_are_compared_task_by_task_and_overall(capsys):
    flags = ["--env", pushes(1, 2, 9), *PUSH, "--episodes", "40"]
    for name, luck in (("a", "0.2"), ("b", "0.9")):
        options = ["--policy-option", f"luck={luck}", "--output", name, "--quiet"]
        assert rollout.main(["--model", "lucky:Lucky", *flags, *options]) == 0
    capsys.readouterr()
    assert compare.main(["a", "b", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    tasks = list(found["tasks"].values())
    assert [task["pairs"]["only_b"] for task in tasks] == [tasks[0]["pairs"]["only_b"]] * 2 + [0]
    assert found["difference"] == pytest.approx(np.mean([task["difference"] for task in tasks]))
    assert [task["holm_p"] for task in tasks] == holm([task["p_value"] for task in tasks])
    assert found["verdict"] == "better"
    assert compare.main(["a", "b"]) == 0
    assert "p (Holm)" in capsys.readouterr().out
    assert report.main(["a", "b"]) == 0
    page = Path("a/report.html").read_text()
    assert page.count("needed=9") > 4
    assert "Difference in each task" in page
    assert report.main(["a", "b", "--format", "md"]) == 0


@pytest.mark.slow
def test_a_suite_is_collected_verified_and_filmed():
    assert collect.main(["--model", "random", *SUITE, "--episodes", "2", "--keep-failures", "--cameras", "--output",
                         "data", "--quiet"]) == 0  # fmt: skip
    assert collect.main(["--verify", "data", "--quiet"]) == 0
    assert record.main(["--model", "zero", *SUITE, "--seeds", "0", "--size", "64", "--output", "films"]) == 0
    assert len(list(Path("films").glob("*.mp4"))) == 2


@pytest.mark.parametrize(("words", "message"), [
    (["--until-width", "5pp"], "expected one task with --until-width or --until-decided, got a suite"),
    (["--env", "reach,reach"], "expected at least 2 different tasks"),
    (["--env", "reach,pick-plce"], "Did you mean 'pick-place'"),
])  # fmt: skip
def test_a_mistake_is_one_line(words, message, capsys):
    assert rollout.main(["--model", "zero", *SUITE, "--episodes", "2", "--quiet", *words]) == 2
    assert message in capsys.readouterr().err


def test_tasks_with_other_actions_are_refused():
    both = f"reach,{pushes(1)}&success=terminated&max_episode_steps=3"
    with pytest.raises(SimScaleError, match="expected tasks with the same actions and control rate"):
        find_environment(both).offer()


def test_a_run_of_a_suite_counts_its_successes():
    assert rollout.main(["--model", "lucky:Lucky", "--env", pushes(1, 9), *PUSH, "--episodes", "6", "--output", "r",
                         "--policy-option", "luck=1"]) == 0  # fmt: skip
    run = read_run(Path("r"))
    assert (run.successes, len(run.results), run.is_complete) == (6, 12, True)
