"""One rate and families of tests: published values, SciPy as oracle, exact coverage, also of whoever looks always."""

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import betaln, xlog1py, xlogy
from scipy.stats import binom, binomtest

from eval.statistics import clopper_pearson, confidence_sequence, holm, wilson

# Successes, n, Wilson, Clopper-Pearson at 95 %, to three digits; computed with other software.
PUBLISHED = [
    (0, 10, (0.0, 0.278), (0.0, 0.308)),
    (9, 10, (0.596, 0.982), (0.555, 0.997)),
    (10, 10, (0.722, 1.0), (0.692, 1.0)),
    (10, 50, (0.112, 0.330), (0.100, 0.337)),
    (45, 50, (0.786, 0.957), (0.782, 0.967)),
    (450, 500, (0.871, 0.923), (0.870, 0.925)),
]


@pytest.mark.parametrize(("k", "n", "by_wilson", "exact"), PUBLISHED)
def test_published_values(k, n, by_wilson, exact):
    assert wilson(k, n)[:2] == pytest.approx(by_wilson, abs=6e-4)
    assert clopper_pearson(k, n)[:2] == pytest.approx(exact, abs=6e-4)


@pytest.mark.parametrize("n", [1, 2, 7, 50, 1000])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
@pytest.mark.parametrize(("interval", "method"), [(wilson, "wilson"), (clopper_pearson, "exact")])
def test_equals_scipy_for_every_count(interval, method, level, n):
    for k in range(0, n + 1, max(1, n // 50)):
        oracle = binomtest(k, n).proportion_ci(level, method=method)
        assert interval(k, n, level)[:2] == pytest.approx((oracle.low, oracle.high), abs=1e-9)


@pytest.mark.parametrize("interval", [wilson, clopper_pearson, confidence_sequence])
def test_ends_are_exact_and_the_level_is_kept(interval):
    assert interval(0, 37).low == 0.0
    assert interval(37, 37).high == 1.0
    assert interval(3, 37, 0.9).level == 0.9


@pytest.mark.parametrize("interval", [wilson, clopper_pearson, confidence_sequence])
def test_no_trials_say_nothing(interval):
    assert interval(0, 0)[:2] == (0.0, 1.0)


@pytest.mark.parametrize("interval", [wilson, clopper_pearson, confidence_sequence])
@pytest.mark.parametrize("arguments", [(5, 4), (-1, 4), (1, 4, 1.0), (1, 4, 0.0)])
def test_impossible_arguments_are_refused(interval, arguments):
    with pytest.raises(ValueError, match="expected"):
        interval(*arguments)


@pytest.mark.parametrize("n", [10, 50, 60])
def test_coverage_by_enumeration(n):
    counts, rates = np.arange(n + 1), np.arange(0.01, 0.995, 0.01)
    coverage = {}
    for interval in (wilson, clopper_pearson):
        ends = np.array([interval(int(k), n)[:2] for k in counts])
        inside = (ends[:, :1] <= rates) & (rates <= ends[:, 1:])
        coverage[interval] = (binom.pmf(counts[:, None], n, rates) * inside).sum(axis=0)
    assert coverage[clopper_pearson].min() >= 0.95
    assert coverage[wilson].min() > 0.85
    assert coverage[wilson].mean() == pytest.approx(0.952, abs=0.004)
    if n == 50:
        assert coverage[wilson].min() == pytest.approx(0.911, abs=0.001)
        assert coverage[clopper_pearson].min() == pytest.approx(0.953, abs=0.001)


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


def test_holm_published_example():
    # Holm's step-down by hand: 4 x 0.01, 3 x 0.013, 2 x 0.02, 1 x 0.03, never falling
    assert holm([0.02, 0.01, 0.03, 0.013]) == pytest.approx([0.04, 0.04, 0.04, 0.04])
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.5))
def test_holm_rejects_as_the_step_down_procedure(p_values, alpha):
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    rejected = set()
    for rank, index in enumerate(order):
        if (len(p_values) - rank) * p_values[index] > alpha:
            break
        rejected.add(index)
    assert {index for index, p in enumerate(holm(p_values)) if p <= alpha} == rejected


def test_holm_keeps_the_error_of_a_whole_family():
    p_values = np.random.default_rng(11).random((20_000, 6))
    false_alarms = np.mean([min(holm(family)) <= 0.05 for family in p_values.tolist()])
    assert 0.04 < false_alarms <= 0.0535  # 0.05 and three standard errors


def test_holm_refuses_what_is_no_p_value():
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        holm([0.5, 1.5])
