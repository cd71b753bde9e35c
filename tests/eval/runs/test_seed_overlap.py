"""Whether a policy is evaluated on seeds that it was trained on."""

import time

import pytest

from eval.episodes.plan import plan_seeds
from eval.runs.seed_overlap import seed_overlap


def trained_on(first, last, count, **others):
    return {"seeds": {"first": first, "last": last, "count": count}, **others}


def test_the_seeds_between_first_and_last_overlap():
    training = trained_on(10, 12, 3)
    overlap = seed_overlap(training, plan_seeds([13, 12, 9, 10, 11]))
    assert overlap.seeds == (12, 10, 11)
    assert (overlap.trained_on.first, overlap.trained_on.last, overlap.is_certain) == (10, 12, True)
    assert seed_overlap(training, plan_seeds([9, 13])) is None


def test_the_seeds_of_the_checkpoint_that_the_training_started_from_count_too():
    initial = {"digest": "d", "training": trained_on(10, 12, 3, initial=None)}
    training = trained_on(20, 21, 2, initial=initial)
    assert [seed_overlap(training, plan_seeds([seed])) is not None for seed in (11, 15, 20)] == [True, False, True]


def test_gaps_in_what_is_recorded_make_the_overlap_uncertain():
    assert not seed_overlap(trained_on(10, 20, 4), plan_seeds([15])).is_certain


@pytest.mark.parametrize(
    "training",
    [None, {}, {"seeds": None}, {"seeds": [1, 2]}, {"seeds": {"first": 0, "last": None}}, trained_on("0", 9, 10)],
)
def test_a_record_that_does_not_say_is_no_overlap(training):
    assert seed_overlap(training, plan_seeds([1])) is None


def in_intervals(*intervals):
    """A training record as checkpoints are written now."""
    return {"seeds": {"intervals": [list(each) for each in intervals], "count": 0}}


def test_intervals_of_seeds_leave_the_gaps_between_them_free():
    training = in_intervals((10**9, 10**9 + 9), (3 * 10**9, 3 * 10**9 + 4))
    assert seed_overlap(training, plan_seeds(range(2 * 10**9, 2 * 10**9 + 50))) is None
    overlap = seed_overlap(training, plan_seeds([7, 10**9 + 9, 10**9 + 10, 10**9 + 2]))
    assert overlap.seeds == (10**9 + 9, 10**9 + 2)
    assert (overlap.trained_on.first, overlap.trained_on.last, overlap.trained_on.count) == (10**9, 10**9 + 9, 10)
    assert overlap.is_certain


def test_the_range_of_an_overlap_spans_the_intervals_that_hold_a_seed():
    overlap = seed_overlap(in_intervals((0, 1), (4, 5), (8, 9)), plan_seeds([5, 6, 7, 8]))
    assert overlap.seeds == (5, 8)
    assert (overlap.trained_on.first, overlap.trained_on.last, overlap.trained_on.count) == (4, 9, 4)


@pytest.mark.parametrize("seed", range(12))
def test_intervals_are_inclusive(seed):
    overlap = seed_overlap(in_intervals((2, 2), (4, 6), (9, 10)), plan_seeds([seed]))
    assert (overlap is not None) == (seed in (2, 4, 5, 6, 9, 10))


@pytest.mark.parametrize("intervals", [None, 5, [], [[1]], [[1, 2, 3]], [["1", "2"]], [1, 2], [[1.5, 2]]])
def test_intervals_that_are_none_are_no_overlap(intervals):
    assert seed_overlap({"seeds": {"intervals": intervals, "count": 1}}, plan_seeds([1])) is None


def test_many_intervals_and_many_episodes_are_quick():
    training = in_intervals(*((seed, seed) for seed in range(0, 100_000, 2)))
    began = time.thread_time()
    assert len(seed_overlap(training, plan_seeds(range(100_000))).seeds) == 50_000
    assert time.thread_time() - began < 5
