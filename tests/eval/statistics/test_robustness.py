"""Several cells on the same starts: Newcombe, Wilson, McNemar and enumeration as oracles; coverage by simulation."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.statistics.paired import PairedCounts, mcnemar_exact, newcombe
from eval.statistics.rates import wilson
from eval.statistics.robustness import Cells, area_weights, halving, matched_exact, sign_flip_exact

COUNTS = st.builds(PairedCounts, *[st.integers(0, 40)] * 4).filter(lambda counts: counts.n > 0)


def outcomes_of(counts):
    """Returns the outcomes of A and B that have these counts, shape (n, 2)."""
    cells = [(1, 1)] * counts.both + [(1, 0)] * counts.only_a + [(0, 1)] * counts.only_b + [(0, 0)] * counts.neither
    return np.array(cells, dtype=bool)


def curve(*rates, n=100):
    """Returns outcomes (n, k) with these rates: the same starts fail first at every level."""
    return np.array([[start < round(rate * n) for rate in rates] for start in range(n)])


@settings(deadline=None)
@given(COUNTS)
def test_a_difference_of_two_cells_has_newcombes_interval(counts):
    value, low, high, _ = Cells(outcomes_of(counts)).combination([-1, 1])
    assert value == pytest.approx(counts.difference)
    assert (low, high) == pytest.approx(newcombe(counts)[:2])


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(1, 50))
def test_one_cell_has_wilsons_interval(successes, n):
    successes = min(successes, n)
    found = Cells(np.arange(n)[:, None] < successes).combination([1])
    assert found[1:3] == pytest.approx(wilson(successes, n)[:2])


def test_the_mean_of_equal_cells_is_as_uncertain_as_one_of_them():
    cells = Cells(curve(0.9, 0.9, 0.9))
    assert cells.combination([1 / 3] * 3)[:3] == pytest.approx(cells.combination([1, 0, 0])[:3])
    perfect = Cells(curve(1.0, 1.0, 1.0))
    assert perfect.combination([1 / 3] * 3).low == pytest.approx(wilson(100, 100).low)


def test_an_interval_stays_within_what_the_weights_allow():
    assert Cells(curve(1.0, 0.0)).combination([-1, 1])[:2] == (-1.0, -1.0)
    assert Cells(curve(1.0, 0.0)).combination([0.5, 0.5]).high <= 1.0


def test_cells_need_a_start():
    with pytest.raises(ValueError, match="at least 1 start"):
        Cells(np.zeros((0, 3), dtype=bool))


def test_the_area_is_that_of_trapezoids():
    rates, levels = np.array([1.0, 0.8, 0.2]), [0, 2, 3]
    assert area_weights(levels) @ rates == pytest.approx(np.trapezoid(rates, levels) / 3)
    assert area_weights([0, 1, 2, 3, 4, 5]).sum() == pytest.approx(1)


def test_the_success_rate_halves_between_two_levels():
    found = halving(Cells(curve(0.8, 0.8, 0.6, 0.2, 0.0, 0.0, n=1000)), [0, 1, 2, 3, 4, 5])
    assert found.at == pytest.approx(2.5)
    assert 2.3 < found.low < 2.5 < found.high < 2.7


def test_the_interval_of_the_halving_level_is_narrower_with_more_starts():
    few, many = (halving(Cells(curve(1.0, 0.6, 0.2, n=n)), [0, 1, 2]) for n in (50, 500))
    assert few.at == many.at == pytest.approx(1.25)
    assert few.low < many.low < many.high < few.high


def test_a_success_rate_that_does_not_halve():
    assert halving(Cells(curve(1.0, 1.0, 0.9)), [0, 1, 2]) == (None, None, None)
    at, low, high = halving(Cells(curve(1.0, 0.9, 0.52)), [0, 1, 2])
    assert (at, high) == (None, None)
    assert 1.5 < low < 2
    assert halving(Cells(curve(0.0, 0.0)), [0, 1]) == (None, None, None)


@settings(deadline=None)
@given(COUNTS)
def test_with_one_level_the_exact_tests_are_mcnemars(counts):
    outcomes = outcomes_of(counts)
    oracle = mcnemar_exact(counts.only_a, counts.only_b)
    assert matched_exact(outcomes[:, 0], outcomes[:, 1:]) == pytest.approx(oracle)
    assert sign_flip_exact(outcomes[:, 1].astype(int) - outcomes[:, 0]) == pytest.approx(oracle)


def test_the_matched_test_by_enumeration_of_which_outcome_is_the_control():
    outcomes = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1], [0, 0, 1]], dtype=bool)
    control = [sum(row[which] for row, which in zip(outcomes, c, strict=True)) for c in product(range(3), repeat=5)]
    observed = outcomes[:, 0].sum()
    upper, lower = np.mean(np.array(control) >= observed), np.mean(np.array(control) <= observed)
    assert matched_exact(outcomes[:, 0], outcomes[:, 1:]) == pytest.approx(min(1, 2 * min(upper, lower)))


def test_the_sign_flip_test_by_enumeration_of_all_signs():
    differences = np.array([3, -1, 2, 2, 0, 1])
    sums = np.array([np.dot(signs, np.abs(differences)) for signs in product((-1, 1), repeat=6)])
    oracle = 2 * np.mean(sums >= differences.sum())
    assert sign_flip_exact(differences) == pytest.approx(oracle)


def draw_levels(rng, n, rates, shared):
    """Draws outcomes (n, k) with these rates; a share `shared` of the variance is that of the start."""
    from scipy.special import ndtri

    noise = np.sqrt(shared) * rng.normal(size=(n, 1)) + np.sqrt(1 - shared) * rng.normal(size=(n, len(rates)))
    return noise < ndtri(np.array(rates))


CURVES = {
    "falling": (0.95, 0.9, 0.7, 0.4, 0.2, 0.05),
    "perfect, then falling": (0.99, 0.99, 0.97, 0.8, 0.5, 0.2),
    "robust": (0.98, 0.98, 0.97, 0.98, 0.96, 0.95),
    "weak": (0.3, 0.3, 0.2, 0.2, 0.1, 0.02),
}


@pytest.mark.slow
@pytest.mark.parametrize("shared", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("rates", CURVES.values(), ids=CURVES)
@pytest.mark.parametrize("n", [30, 100])
def test_intervals_cover_the_true_figure_in_95_of_100_simulated_batteries(n, rates, shared):
    rng, levels, runs = np.random.default_rng(7), np.arange(6), 1000
    area, drop = area_weights(levels), np.array([-1, *[0.2] * 5])
    interaction = np.array([1, -1, -1, 1, 0, 0])
    covered = dict.fromkeys(("area", "drop", "interaction"), 0)
    for _ in range(runs):
        cells = Cells(draw_levels(rng, n, rates, shared))
        for name, weights in (("area", area), ("drop", drop), ("interaction", interaction)):
            found = cells.combination(weights)
            covered[name] += found.low - 1e-9 <= weights @ np.array(rates) <= found.high + 1e-9
    assert all(count >= 0.93 * runs for count in covered.values()), covered


@pytest.mark.slow
@pytest.mark.parametrize("shared", [0.0, 0.5, 0.95])
def test_the_interval_of_the_halving_level_covers(shared):
    rng, levels, rates = np.random.default_rng(8), np.arange(6), (0.96, 0.96, 0.8, 0.6, 0.2, 0.1)
    true, covered = 3.3, 0
    for _ in range(400):
        found = halving(Cells(draw_levels(rng, 60, rates, shared)), levels)
        covered += (found.low or 0) <= true <= (9 if found.high is None else found.high)
    assert covered >= 0.93 * 400


@pytest.mark.slow
@pytest.mark.parametrize("shared", [0.0, 0.7])
def test_the_matched_test_rejects_a_harmless_axis_in_at_most_5_of_100_simulated_batteries(shared):
    rng, runs = np.random.default_rng(9), 1000
    drawn = [draw_levels(rng, 60, [0.8] * 6, shared) for _ in range(runs)]
    p_values = np.array([matched_exact(outcomes[:, 0], outcomes[:, 1:]) for outcomes in drawn])
    assert np.mean(p_values <= 0.05) <= 0.055
