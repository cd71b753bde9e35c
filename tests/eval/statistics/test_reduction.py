"""The sign test against exact counts, and the share of an error that a change removes."""

from math import comb

import numpy as np
import pytest

from eval.statistics.reduction import reduction, sign_test


@pytest.mark.parametrize(("lower", "n"), [(0, 5), (3, 5), (5, 5), (12, 14)])
def test_the_sign_test_counts_the_throws_of_a_coin(lower, n):
    assert sign_test(lower, n) == pytest.approx(sum(comb(n, k) for k in range(lower, n + 1)) / 2**n)


def test_an_error_that_is_halved_in_every_episode():
    before = np.linspace(1, 2, 14)
    found = reduction(before, before / 2)
    assert (found.lower, found.episodes, found.p_value) == (14, 14, 2.0**-14)
    assert (found.share, found.drop) == (pytest.approx(0.5), pytest.approx(0.75))
    assert found.interval[:2] == pytest.approx((0.5, 0.5))


def test_the_interval_covers_the_share_as_often_as_it_says():
    rng = np.random.default_rng(1)
    draws = (1 + 0.3 * rng.normal(size=(2, 300, 30))) * [[[1.0]], [[0.7]]]
    covered = [low <= 0.3 <= high for low, high, _ in (reduction(*pair).interval for pair in draws.swapaxes(0, 1))]
    assert 0.88 <= np.mean(covered) <= 0.98  # percentiles of few episodes cover a little too seldom


def test_equal_errors_are_not_lower():
    assert reduction([1.0, 2.0], [1.0, 2.0]).p_value == 1.0


def test_errors_of_different_episodes_are_refused():
    with pytest.raises(ValueError, match="same episodes"):
        reduction([1.0], [1.0, 2.0])
