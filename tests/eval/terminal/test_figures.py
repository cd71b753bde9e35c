"""Figures as people read them."""

from dataclasses import replace

import pytest
from run_folders import episode

from eval.runs.schema.seeds import SeedOverlap, SeedRange
from eval.runs.summary import summarise
from eval.terminal.figures import format_summary, moved_object_text, overlap_text, smallest_difference_text


def summary(outcomes, *, runs_on=False, **options):
    results = [episode(index, index, outcome) for index, outcome in enumerate(outcomes)]
    if runs_on:
        results = [_run_on(result) for result in results]
    return summarise(results, **{"planned": len(results)} | options)


def _run_on(result):
    succeeded = result.status == "success"
    return replace(result, success_once=True, success_held=succeeded, success_at_end=succeeded)


def test_errors_are_named_with_both_bounds():
    text = format_summary(summary("+" * 6 + "---E"))
    assert "6/10   60.0 %   95 % interval [31.3, 83.2] (Wilson)" in text
    assert "errors               1; they count as not successful; had they run, the success rate would be in" in text
    assert "[60.0, 70.0] %" in text
    assert "  dropped            4" in text


def test_which_success_is_said():
    lines = format_summary(summary("+-", runs_on=True)).splitlines()
    assert [line[:21].strip() for line in lines[:3]] == ["success at end", "success once", "success held"]
    assert [line[21:].split()[0] for line in lines[:3]] == ["1/2", "2/2", "1/2"]
    assert format_summary(summary("+")).startswith("success once")


def test_an_incomplete_run_says_what_counts():
    text = format_summary(summary("", planned=5))
    assert "incomplete           0 of 5 planned episodes count: those before the first unfinished one" in text
    assert "incomplete" not in format_summary(summary("+"))


def test_the_interval_of_a_stopped_run_is_named():
    assert "(confidence sequence, valid under stopping)" in format_summary(summary("+-", sequential=True))


def test_the_smallest_difference_is_told_in_words():
    text = smallest_difference_text(summary("+" * 60 + "-" * 40))
    assert text == (
        "19.8 pp is detectable with 80 % power, paired with an equally good policy on the same 100 episodes"
    )


@pytest.mark.parametrize("n", [0, 5])
def test_few_episodes_detect_no_difference(n):
    assert smallest_difference_text(summary("+" * n)) == f"none is detectable: {n} episodes are too few"


def test_nothing_is_claimed_for_a_number_of_episodes_that_is_not_fixed():
    assert smallest_difference_text(summary("++", sequential=True)) == ""


def test_lifted_objects_are_told_with_an_interval():
    text = moved_object_text(summary("++-"))  # the stage of all three is "placed"
    assert text == "3/3   100.0 %   95 % interval [43.9, 100.0] (Wilson, of the episodes with a lifted object)"
    assert moved_object_text(summary("")) == "no object was lifted in any episode"


def test_an_overlap_of_seeds_names_both_ranges():
    certain = SeedOverlap(seeds=(12, 10), trained_on=SeedRange(first=10, last=12, count=3), is_certain=True)
    assert overlap_text(certain, 5) == (
        "2 of 5 episodes, seeds 10 to 12, are in the range of seeds that the checkpoint was trained on, 10 to 12: "
        "this is no test on new scenes"
    )


def test_an_uncertain_overlap_says_so():
    uncertain = SeedOverlap(seeds=(15,), trained_on=SeedRange(first=10, last=20, count=4), is_certain=False)
    text = overlap_text(uncertain, 1)
    assert text.startswith("1 of 1 episodes, seed 15, are in the range")
    assert "10 to 20 (4 of these seeds, which ones is not recorded)" in text
