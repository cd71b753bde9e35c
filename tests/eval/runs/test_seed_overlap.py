"""A policy that is scored on the scenes that it learned from: said before, after, and in the record."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from eval import rollout
from eval.plan import plan_seeds
from eval.results import RunRecord
from eval.seed_overlap import seed_overlap

FIRST = 3_000_000_100


def trained_on(training):
    return SimpleNamespace(checkpoint=SimpleNamespace(training=training))


def test_the_seeds_between_first_and_last_overlap():
    policy = trained_on({"seeds": {"first": 10, "last": 12, "count": 3}})
    overlap = seed_overlap(policy, plan_seeds([13, 12, 9, 10, 11]))
    assert overlap.seeds == (12, 10, 11)
    assert overlap.is_certain
    assert overlap.text() == (
        "3 of 5 episodes, seeds 10 to 12, lie in what the checkpoint was trained on, 10 to 12: no test of new scenes"
    )
    assert seed_overlap(policy, plan_seeds([9, 13])) is None


def test_the_seeds_of_the_checkpoint_that_it_was_started_from_count_too():
    first = {"seeds": {"first": 10, "last": 12, "count": 3}, "initial": None}
    policy = trained_on({"seeds": {"first": 20, "last": 21, "count": 2}, "initial": {"digest": "d", "training": first}})
    assert [seed_overlap(policy, plan_seeds([seed])) is not None for seed in (11, 15, 20)] == [True, False, True]


def test_that_gaps_are_not_recorded_is_said():
    overlap = seed_overlap(trained_on({"seeds": {"first": 10, "last": 20, "count": 4}}), plan_seeds([15]))
    assert not overlap.is_certain
    assert "1 of 1 episodes, seed 15, lie in the range (of which 4) the checkpoint was trained on" in overlap.text()


@pytest.mark.parametrize("training", [{}, {"seeds": None}, {"seeds": [1, 2]}, {"seeds": {"first": 0, "last": None}}])
def test_a_record_that_does_not_say_is_no_overlap(training):
    assert seed_overlap(trained_on(training), plan_seeds([1])) is None


@pytest.fixture
def run_bc(make_checkpoint, tmp_path, monkeypatch, capsys):
    """Runs a policy that was trained on two seeds; returns what was printed."""
    monkeypatch.chdir(tmp_path)
    checkpoint = make_checkpoint("bc", {"seeds": {"first": FIRST, "last": FIRST + 1, "count": 2}})

    def run(*seeds):
        flags = ["--model", str(checkpoint), "--env", "reach", "--output", "run", "--seeds"]
        assert rollout.main([*flags, *map(str, seeds)]) == 0
        return capsys.readouterr().out.splitlines()

    return run


def test_a_run_on_trained_seeds_is_warned_of_before_and_after_and_recorded(run_bc):
    out = run_bc(FIRST + 1, FIRST + 2)
    text = (
        f"1 of 2 episodes, seed {FIRST + 1}, lie in what the checkpoint was trained on, {FIRST} to {FIRST + 1}: "
        "no test of new scenes"
    )
    headline = next(index for index, line in enumerate(out) if line.startswith("success once"))
    assert f"warning: {text}" in out[:headline]
    assert f"{'warning':<20} {text}" in out[headline:]
    assert RunRecord.read(Path("run")).seed_overlap == {
        "seeds": [FIRST + 1],
        "trained_on": {"first": FIRST, "last": FIRST + 1, "count": 2},
        "is_certain": True,
    }


def test_a_run_on_other_seeds_is_not(run_bc):
    assert not [line for line in run_bc(FIRST + 2) if "warning" in line]
    assert RunRecord.read(Path("run")).seed_overlap is None
