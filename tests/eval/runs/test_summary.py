from dataclasses import replace

import pytest

from eval.power import mcnemar_power
from eval.results import EpisodeResult
from eval.summary import format_summary, smallest_difference_text, summarise

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
    text = format_summary(summary)
    assert "6/10   60.0 %   95 % interval [31.3, 83.2] (Wilson)" in text
    assert "a rate in [60.0, 70.0] %" in text


def test_which_success_is_said():
    knocked = replace(
        FAILURE, success_once=True, success_held=True, success_at_end=False, failure="placed_then_knocked"
    )
    placed = replace(SUCCESS, success_held=False, success_at_end=True)
    summary = summarise([knocked, placed], planned=2)
    lines = [line.split()[:4] for line in format_summary(summary).splitlines()]
    assert lines[0][:4] == ["success", "at", "end", "1/2"]
    assert lines[1][:3] == ["success", "once", "2/2"]
    assert lines[2][:3] == ["success", "held", "1/2"]
    assert format_summary(summarise([SUCCESS], planned=1)).startswith("success once")


def test_a_run_without_episodes_claims_nothing():
    summary = summarise([], planned=5)
    assert summary.wilson_95 == (0.0, 1.0)
    assert "0 of 5 planned episodes count" in format_summary(summary)


def test_the_smallest_difference_is_seen_four_times_in_five_and_no_smaller_one():
    """One that is an equally good policy succeeds alone as often as it fails alone: 2 · 0.6 · 0.4 of the pairs."""
    summary = summarise([SUCCESS] * 60 + [FAILURE] * 40, planned=100)
    smallest = summary.smallest_difference
    assert mcnemar_power(100, smallest + 1e-9, 0.48) >= 0.8 > mcnemar_power(100, smallest - 1e-3, 0.48)
    assert smallest_difference_text(summary).startswith(f"{100 * smallest:.1f} pp or more (80 % power, paired")
    assert summary.to_json()["smallest_difference"] == smallest


def test_few_episodes_see_no_difference():
    for n in (0, 5):
        summary = summarise([SUCCESS] * n, planned=5)
        assert summary.smallest_difference is None
        assert smallest_difference_text(summary) == f"nothing: {n} episodes are too few for any difference"
