"""Whether a policy is evaluated on seeds that it was trained on."""

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
