import time
from itertools import pairwise

import pytest

from eval.episodes.plan import (
    DEMONSTRATION_SEEDS,
    DEVELOPMENT_SEEDS,
    PUBLISHED_SEEDS,
    TEST_SEEDS,
    VALIDATION_SEEDS,
    EpisodeSpec,
    PlanError,
    plan_episodes,
    plan_seeds,
    plan_text,
)


def test_seed_is_base_seed_plus_index():
    assert plan_episodes(3, seed=7) == (EpisodeSpec(0, 7), EpisodeSpec(1, 8), EpisodeSpec(2, 9))


def test_explicit_seeds_keep_their_order():
    assert [(spec.episode_index, spec.seed) for spec in plan_seeds((5, 0, 9))] == [(0, 5), (1, 0), (2, 9)]


def test_purposes_have_disjoint_seeds():
    ranges = [TEST_SEEDS, DEMONSTRATION_SEEDS, VALIDATION_SEEDS, DEVELOPMENT_SEEDS]
    assert all(before.stop <= after.start for before, after in pairwise(ranges))
    assert PUBLISHED_SEEDS.start in TEST_SEEDS
    assert PUBLISHED_SEEDS[-1] == 900_999


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: plan_episodes(0), "at least 1 episode, got 0"),
        (lambda: plan_episodes(10**9), "at most 1000000 episodes, as many as there are test seeds; got 1000000000"),
        (lambda: plan_episodes(10**400), "at most 1000000 episodes"),
        (lambda: plan_episodes(5, seed=-1), "got -1"),
        (lambda: plan_episodes(2, seed=2**63 - 1), "seeds of at most 9223372036854775807, got 9223372036854775808"),
        (lambda: plan_seeds((1, 10**400)), "seeds of at most 9223372036854775807"),
        (lambda: plan_seeds(()), "got none"),
        (lambda: plan_seeds((1, 2, 1)), r"got \[1\] more than once"),
    ],
)
def test_senseless_plans_are_refused(make, text):
    with pytest.raises(PlanError, match=text):
        make()


@pytest.mark.parametrize(
    ("seeds", "text"),
    [
        ((7,), "1 episode, seed 7"),
        ((7, 8, 9), "3 episodes, seeds 7 to 9"),
        ((7, 9, 3_000_000_000), "3 episodes, seeds 7 9 3000000000"),
        ((9, 8, 7), "3 episodes, seeds 9 8 7"),
        (range(0, 20, 2), "10 episodes, seeds 0 2 4 6 8 10 12 14 16 18"),
        (range(0, 22, 2), "11 episodes, seeds 0 2 4 6 8 10 12 14 16 18 …"),
    ],
)
def test_a_plan_in_a_few_words(seeds, text):
    assert plan_text(plan_seeds(seeds)) == text


def test_a_repeat_among_many_seeds_is_found_quickly():
    began = time.thread_time()
    with pytest.raises(PlanError, match=r"got \[0\] more than once"):
        plan_seeds([*range(100_000), 0])
    assert time.thread_time() - began < 2
