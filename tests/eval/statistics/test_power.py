"""How many pairs see which difference: by enumeration, by reference values, and by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from eval.statistics.paired import mcnemar_exact
from eval.statistics.power import MOST_PAIRS, independent_discordance, mcnemar_power, pairs_needed, smallest_difference


def enumerated_power(n, difference, discordance, level):
    power = 0.0
    share = (1 - difference / discordance) / 2
    for m in range(n + 1):
        for worse in range(m // 2 + 1):
            if mcnemar_exact(worse, m - worse) <= 1 - level:
                power += binom.pmf(m, n, discordance) * binom.pmf(worse, m, share)
    return power


@pytest.mark.parametrize("level", [0.8, 0.95, 0.9999])
@pytest.mark.parametrize(
    ("n", "difference", "discordance"), [(12, 0.3, 0.6), (30, 0.2, 0.28), (15, 0.9, 1), (9, 0, 0.5)]
)
def test_power_by_enumeration_of_every_outcome(n, difference, discordance, level):
    expected = enumerated_power(n, difference, discordance, level)
    assert mcnemar_power(n, difference, discordance, level) == pytest.approx(expected)


# Difference, discordance, power at n = 50, 100, 200; simulated with other software.
REFERENCE = [
    (0.2, 0.28, (0.72, 0.98, 1.00)),
    (0.2, 0.30, (0.70, 0.96, 1.00)),
    (0.2, 0.36, (0.60, 0.91, 1.00)),
    (0.1, 0.14, (0.32, 0.73, 0.97)),
    (0.1, 0.10, (0.38, 0.95, 1.00)),
]


@pytest.mark.parametrize(("difference", "discordance", "powers"), REFERENCE)
def test_power_is_near_reference_values(difference, discordance, powers):
    assert [mcnemar_power(n, difference, discordance) for n in (50, 100, 200)] == pytest.approx(powers, abs=0.025)


def test_power_by_simulation():
    rng = np.random.default_rng(5)
    cells = rng.multinomial(80, [0.66, 0.04, 0.24, 0.06], size=4000)
    seen = np.mean(
        [only_b > only_a and mcnemar_exact(only_a, only_b) <= 0.05 for _, only_a, only_b, _ in cells.tolist()]
    )
    assert mcnemar_power(80, 0.2, 0.28) == pytest.approx(seen, abs=0.02)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("discordance", [0.1, 0.5, 1.0])
def test_without_a_difference_it_is_seen_in_at_most_half_of_alpha(discordance, level):
    assert all(mcnemar_power(n, 0.0, discordance, level) <= (1 - level) / 2 for n in (0, 5, 50, 317))


@settings(deadline=None, max_examples=30)
@given(st.integers(6, 400), st.floats(0, 1))
def test_smallest_difference_is_seen_and_a_smaller_one_is_not(n, discordance):
    difference = smallest_difference(n, discordance)
    assert 0 < difference <= 1
    assert mcnemar_power(n, min(1.0, difference + 1e-6), discordance) >= 0.8
    assert mcnemar_power(n, difference - 1e-6, discordance) < 0.8


def test_smallest_difference_falls_with_n_and_rises_with_discordance():
    by_n = [smallest_difference(n, 0.3) for n in (10, 50, 200, 1000)]
    assert by_n == sorted(by_n, reverse=True)
    by_discordance = [smallest_difference(100, share) for share in (0.0, 0.1, 0.3, 0.6)]
    assert by_discordance == sorted(by_discordance)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_five_pairs_see_nothing_at_all(n):
    assert smallest_difference(n, 0.3) is None
    assert smallest_difference(6, 0.3) > 0.9  # six of six is the least that is significant


@pytest.mark.parametrize(("difference", "discordance"), [(0.2, 0.28), (0.1, 0.1), (0.1, 0.5), (0.05, 0.2)])
def test_pairs_needed_suffice_and_one_less_does_not(difference, discordance):
    n = pairs_needed(difference, discordance)
    assert mcnemar_power(n, difference, discordance) >= 0.8 > mcnemar_power(n - 1, difference, discordance)


def test_pairs_needed_for_rules_of_thumb():
    assert 55 <= pairs_needed(0.2, 0.28) <= 75
    assert 105 <= pairs_needed(0.1, 0.14) <= 125
    assert pairs_needed(0.0, 0.3) is None
    assert pairs_needed(0.003, 0.9) is None
    assert smallest_difference(pairs_needed(0.1, 0.2), 0.2) == pytest.approx(0.1, abs=1e-3)
    assert MOST_PAIRS >= 10_000


def test_independent_policies_disagree_as_two_coins():
    assert independent_discordance(0.9, 0.7) == pytest.approx(0.9 * 0.3 + 0.1 * 0.7)
    assert independent_discordance(0.5, 0.5) == 0.5
    assert independent_discordance(1.0, 1.0) == 0.0


@pytest.mark.parametrize("arguments", [(-1, 0.1, 0.2), (10, -0.1, 0.2), (10, 0.1, 1.2), (10, 0.1, 0.2, 1.0)])
def test_impossible_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="expected"):
        mcnemar_power(*arguments)
