"""Intervals of one rate: published values, SciPy as oracle, exact coverage."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from eval.statistics.rates import clopper_pearson, wilson
from eval.statistics.sequential import confidence_sequence

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
