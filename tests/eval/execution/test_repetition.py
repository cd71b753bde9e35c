"""The probe at the start of a run: does the environment repeat itself, and do its starts differ?"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import point_world
import pytest
from point_world import PointEnv

from eval import collect, compare, rollout
from eval.episodes.plan import over_tasks, plan_episodes
from eval.execution.repetition import probe_repetition
from eval.report import __main__ as report
from eval.runs.record import RunRecord

UNKNOWN = replace(point_world.SPEC, repeats="unknown")


class Noisy(PointEnv):
    """Draws what it does from a stream of the process, as many environments do by mistake."""

    def reset(self, slots, starts):
        begun = super().reset(slots, starts)
        self.positions[slots] += np.random.default_rng().normal(0, 1e-3, (len(slots), 2))
        return begun


class Leaking(PointEnv):
    """An episode depends on how many others ran before."""

    begun = 0

    def step(self, slots, actions):
        self.positions[slots] += 1e-9 * self.begun
        return super().step(slots, actions)

    def reset(self, slots, starts):
        self.begun += len(slots)
        return super().reset(slots, starts)


class Same(PointEnv):
    """Ignores the seed."""

    def reset(self, slots, starts):
        begun = super().reset(slots, starts)
        self.positions[slots] = 0.9
        return [replace(each, instruction="go") for each in begun]


class OneNoisyTask(Noisy):
    """A suite whose task "b" does not repeat itself."""

    def reset(self, slots, starts):
        noisy = all(start.options["task"] == "b" for start in starts)
        return super().reset(slots, starts) if noisy else PointEnv.reset(self, slots, starts)


class Raising(PointEnv):
    def reset(self, slots, starts):
        raise OSError("no licence")


def probed(kind, slots=2, episodes=9):
    return probe_repetition(kind(slots, spec=UNKNOWN), plan_episodes(episodes))


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_what_repeats_is_exact(slots):
    found = probed(PointEnv, slots)
    assert found.repeats == "exact"
    assert found.warnings() == []


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("kind", [Noisy, Leaking])
def test_what_does_not_repeat_is_found(kind, slots):
    found = probed(kind, slots)
    assert found.repeats == "no"
    assert "does not repeat itself" in found.warnings()[0]


def test_starts_that_begin_alike_are_found():
    found = probed(Same)
    assert (found.repeats, found.compared, found.distinct) == ("exact", 6, 1)
    assert found.warnings() == [
        "of the first 6 starts of the plan, all begin alike: repeated starts are no new evidence, so the interval is "
        "too narrow"
    ]


@pytest.mark.parametrize(("tasks", "repeats"), [("ab", "no"), ("cab", "no"), ("ca", "exact")])
def test_every_task_of_a_suite_is_probed(tasks, repeats):
    plan = over_tasks(plan_episodes(4), tasks)
    assert probe_repetition(OneNoisyTask(2, spec=UNKNOWN), plan).repeats == repeats


def test_starts_of_each_of_many_tasks_are_compared():
    found = probe_repetition(Same(2, spec=UNKNOWN), over_tasks(plan_episodes(4), "abcdefgh"))
    assert (found.compared, found.distinct) == (16, 8)


def test_one_episode_is_not_compared_with_itself():
    assert probed(Same, episodes=1).warnings() == []


def test_an_environment_that_raises_stays_unknown():
    found = probed(Raising)
    assert found.repeats == "unknown"
    assert "could not be checked" in found.warnings()[0]


def test_a_start_that_breaks_is_passed_over():
    env = PointEnv(2, spec=UNKNOWN)
    env.raises = {1: 0}
    assert probe_repetition(env, plan_episodes(4)).repeats == "exact"


def test_more_episodes_than_different_starts_are_warned_of():
    env = PointEnv(2, spec=replace(point_world.SPEC, distinct_starts=3))
    assert probe_repetition(env, plan_episodes(3)).warnings() == []
    assert "the plan has 2 more episodes than" in probe_repetition(env, plan_episodes(5)).warnings()[0]


def test_an_environment_that_is_known_to_repeat_itself_is_not_run():
    env = PointEnv(2)
    assert probe_repetition(env, plan_episodes(3)).repeats == "exact"
    assert env.simulated_steps == 0


@pytest.fixture
def noisy(monkeypatch, tmp_path):
    from envs import registration

    monkeypatch.setattr(registration, "_REGISTERED", dict(registration._REGISTERED))
    monkeypatch.chdir(tmp_path)

    def make(num_slots, needs, terminate_on_success, max_episode_steps):
        return Noisy(num_slots, needs, terminate_on_success, max_episode_steps, spec=UNKNOWN)

    offer = replace(point_world.REGISTRATION, offer=lambda: UNKNOWN, make=make)
    registration.register_environment(offer)


def test_a_run_that_cannot_repeat_itself_says_so_everywhere(noisy, capsys):
    flags = ["--env", "point", "--episodes", "4"]
    assert rollout.main(["--model", "point_world:Homing", *flags, "--output", "a"]) == 0
    said = capsys.readouterr()
    assert "warning              the environment does not repeat itself" in said.out
    assert RunRecord.read(Path("a")).environment.repeats == "no"
    assert rollout.main(["--model", "zero", *flags, "--output", "b", "--quiet"]) == 0
    assert "does not repeat itself" in capsys.readouterr().err
    compare.main(["a", "b"])
    assert "pairing by seed removes less variance" in capsys.readouterr().out
    assert report.main(["a", "b", "--format", "md"]) == 0
    assert "not known to repeat itself exactly" in capsys.readouterr().out


def test_a_collection_says_so(noisy, capsys):
    flags = ["--model", "point_world:Homing", "--env", "point", "--episodes", "4", "--quiet"]
    assert collect.main([*flags, "--output", "data"]) == 0
    assert "does not repeat itself" in capsys.readouterr().err


def test_resuming_it_needs_an_explicit_flag(noisy, capsys):
    flags = ["--model", "point_world:Homing", "--env", "point", "--episodes", "4", "--output", "a", "--quiet"]
    assert rollout.main(flags) == 0
    capsys.readouterr()
    assert rollout.main([*flags, "--resume"]) == 2
    assert "add --accept-inexact" in capsys.readouterr().err
    assert rollout.main([*flags, "--resume", "--accept-inexact"]) == 0
