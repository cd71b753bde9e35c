"""The figures of a run."""

from dataclasses import replace

import pytest

from eval.episodes.results import EpisodeResult
from eval.runs.summary import moved_objects, summarise
from eval.statistics.power import mcnemar_power
from eval.statistics.sequential import confidence_sequence

SUCCESS = EpisodeResult(
    episode_index=0,
    seed=0,
    instruction="",
    target=None,
    status="success",
    success_once=True,
    success_held=None,
    success_at_end=None,
    steps=10,
    return_=1.0,
    stage="placed",
    failure=None,
    digest="",
)
FAILURE = replace(SUCCESS, status="failure", success_once=False, steps=30, failure="dropped")
ERROR = replace(SUCCESS, status="error", success_once=False, steps=2, failure="environment_exception")


def test_errors_stay_in_the_denominator_and_both_bounds_are_said():
    summary = summarise([SUCCESS] * 6 + [FAILURE] * 3 + [ERROR], planned=10)
    assert (summary.successes, summary.episodes, summary.errors) == (6, 10, 1)
    assert summary.success_rate == 0.6
    assert summary.rate_if_errors_succeeded == 0.7
    assert summary.wilson_95 == pytest.approx((0.3127, 0.8318), abs=1e-4)
    assert summary.mean_steps == 15.2
    assert summary.failures == {"dropped": 3, "environment_exception": 1}


def test_successes_at_some_step_for_a_while_and_at_the_end_are_told_apart():
    knocked = replace(
        FAILURE, success_once=True, success_held=True, success_at_end=False, failure="placed_then_knocked"
    )
    placed = replace(SUCCESS, success_held=False, success_at_end=True)
    summary = summarise([knocked, placed], planned=2)
    assert (summary.successes, summary.success_once, summary.success_held) == (1, 2, 1)
    assert summarise([SUCCESS], planned=1).success_held is None


def test_a_run_without_episodes_claims_nothing():
    summary = summarise([], planned=5)
    assert (summary.planned, summary.episodes, summary.wilson_95) == (5, 0, (0.0, 1.0))


def test_the_smallest_difference_has_80_percent_power_and_no_smaller_one_has():
    """The outcomes of an equally good, independent policy differ in 2 · 0.6 · 0.4 of the pairs."""
    summary = summarise([SUCCESS] * 60 + [FAILURE] * 40, planned=100)
    smallest = summary.smallest_difference
    assert mcnemar_power(100, smallest + 1e-9, 0.48) >= 0.8 > mcnemar_power(100, smallest - 1e-3, 0.48)
    assert summary.to_json()["smallest_difference"] == smallest


@pytest.mark.parametrize("n", [0, 5])
def test_few_episodes_detect_no_difference(n):
    assert summarise([SUCCESS] * n, planned=5).smallest_difference is None


def test_a_run_that_a_rule_may_stop_has_only_figures_that_are_valid_at_every_look():
    summary = summarise([SUCCESS] * 6 + [FAILURE] * 4, planned=10, sequential=True)
    assert summary.wilson_95 is summary.at_least_95 is summary.smallest_difference is None
    assert summary.confidence_sequence_95 == confidence_sequence(6, 10)[:2] == summary.interval[:2]
    assert "valid under stopping" in summary.method


def test_json_holds_every_figure():
    data = summarise([SUCCESS] * 3 + [FAILURE], planned=4).to_json()
    assert (data["episodes"], data["failures"], data["wilson_95"]) == (
        4,
        {"dropped": 1},
        pytest.approx([0.3, 0.95], abs=0.01),
    )
    assert data["moved_object"] == {"right": 4, "wrong": 0, "right_share_95": pytest.approx([0.51, 1.0], abs=0.01)}


def test_a_lifted_object_is_the_target_or_another_one():
    lifted = replace(FAILURE, stage="lifted")
    wrong = replace(FAILURE, stage="approached", failure="wrong_object")
    nothing = replace(FAILURE, stage="approached")
    unknown = replace(lifted, status="error", failure="worker_died")
    moved = moved_objects([SUCCESS, lifted, wrong, nothing, unknown])
    assert (moved.right, moved.wrong, moved.n) == (2, 1, 3)
    assert moved.right_share_95 == pytest.approx((0.208, 0.939), abs=1e-3)
    sequential = moved_objects([SUCCESS, lifted, wrong], sequential=True)
    assert sequential.right_share_95 == confidence_sequence(2, 3)[:2]
    assert moved_objects([nothing]) is None
