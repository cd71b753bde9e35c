"""The confidence sequence: reference values, its definition as oracle, and exact type-I error under repeated looks."""

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import betaln, xlog1py, xlogy

from eval.statistics.rates import clopper_pearson, wilson
from eval.statistics.sequential import confidence_sequence, rate_interval


@pytest.mark.parametrize(
    ("k", "n", "ends"),
    [
        (10, 10, (0.623, 1.0)),
        (0, 50, (0.0, 0.105)),
        (25, 50, (0.284, 0.716)),
        (45, 50, (0.713, 0.984)),
        (50, 50, (0.895, 1.0)),
        (90, 100, (0.772, 0.971)),
        (450, 500, (0.846, 0.941)),
    ],
)
def test_confidence_sequence_gives_reference_values(k, n, ends):
    assert confidence_sequence(k, n)[:2] == pytest.approx(ends, abs=6e-4)


@settings(deadline=None)
@given(st.integers(1, 3000), st.floats(0, 1), st.sampled_from([0.5, 0.95, 0.999]))
def test_confidence_sequence_ends_where_the_bet_has_won(n, rate, level):
    k = round(rate * n)
    low, high, _ = confidence_sequence(k, n, level)
    assert 0 <= low <= k / n <= high <= 1

    def surplus(p):
        return xlogy(k, p) + xlog1py(n - k, -p) - betaln(k + 0.5, n - k + 0.5) + betaln(0.5, 0.5) - log(1 - level)

    assert low == (0 if k == 0 else pytest.approx(brentq(surplus, 1e-300, k / n), abs=1e-9))
    assert high == (1 if k == n else pytest.approx(brentq(surplus, k / n, 1 - 1e-16), abs=1e-9))


@settings(deadline=None)
@given(st.integers(1, 500), st.floats(0, 1))
def test_confidence_sequence_pays_for_looking_and_is_symmetric(n, rate):
    k = round(rate * n)
    low, high, _ = confidence_sequence(k, n)
    fixed = clopper_pearson(k, n)
    assert low <= fixed.low
    assert fixed.high <= high
    assert confidence_sequence(n - k, n)[:2] == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9, 0.98])
def test_looking_after_every_episode_misses_with_at_most_alpha_exactly(rate):
    """Follows every sequence of 150 episodes at once and stops those whose interval has missed the rate."""
    missed, missed_by_fixed = 0.0, 0.0
    alive, alive_by_fixed = np.array([1.0]), np.array([1.0])
    for n in range(1, 151):
        alive, alive_by_fixed = (np.convolve(way, [1 - rate, rate]) for way in (alive, alive_by_fixed))
        for k in range(n + 1):
            low, high, _ = confidence_sequence(k, n)
            if not low <= rate <= high:
                missed, alive[k] = missed + alive[k], 0.0
            low, high, _ = clopper_pearson(k, n)
            if not low <= rate <= high:
                missed_by_fixed, alive_by_fixed[k] = missed_by_fixed + alive_by_fixed[k], 0.0
    assert missed <= 0.05
    assert missed_by_fixed > 0.07  # what the price is paid for


def test_the_interval_to_report_depends_on_whether_the_run_may_stop_early():
    assert rate_interval(7, 10, sequential=False) == wilson(7, 10)
    assert rate_interval(7, 10, sequential=True) == confidence_sequence(7, 10)
