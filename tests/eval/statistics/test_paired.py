"""Two policies on the same episodes: published values, SciPy as oracle, exact coverage, errors of any look."""

import functools
from math import comb, exp, log

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, multinomial

from eval.statistics.paired import PairedCounts, difference_sequence, log_e_value, mcnemar_exact, newcombe
from eval.statistics.sequential import confidence_sequence

COUNTS = st.builds(PairedCounts, *[st.integers(0, 300)] * 4)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        # Newcombe 1998, Table II, method 10
        (PairedCounts(36, 2, 12, 0), 0.0569, 0.3404),
        (PairedCounts(20, 2, 12, 16), 0.0562, 0.3292),
        (PairedCounts(36, 0, 14, 0), 0.1528, 0.4167),
        # Altman, Machin, Bryant, Gardner 2000, Statistics with Confidence, Table 6.2
        (PairedCounts(14, 0, 5, 22), 0.0115, 0.2265),
        # Fagerland, Lydersen, Laake 2017: Bentur et al. 2009
        (PairedCounts(1, 7, 1, 12), -0.507, -0.0256),
        (PairedCounts(33, 2, 12, 3), 0.0545, 0.3409),
    ],
)
def test_newcombe_gives_published_values(counts, low, high):
    assert newcombe(counts)[:2] == pytest.approx((low, high), abs=6e-5 if abs(low) < 0.5 else 6e-4)


@settings(deadline=None)
@given(COUNTS)
def test_newcombe_contains_the_difference_and_turns_with_the_names(counts):
    low, high, _ = newcombe(counts)
    assert -1 <= low <= counts.difference <= high <= 1
    swapped = counts._replace(only_a=counts.only_b, only_b=counts.only_a)
    assert newcombe(swapped)[:2] == pytest.approx((-high, -low))
    relabelled = counts._replace(both=counts.neither, neither=counts.both)  # success called failure, A for B
    if counts.n:
        assert newcombe(relabelled)[:2] == pytest.approx((low, high))


@settings(deadline=None)
@given(COUNTS)
def test_newcombe_is_wider_at_a_higher_level(counts):
    narrow, wide = newcombe(counts, 0.9), newcombe(counts, 0.99)
    assert wide.low <= narrow.low <= narrow.high <= wide.high
    assert wide.level == 0.99


def all_tables(n):
    return [
        PairedCounts(a, b, c, n - a - b - c)
        for a in range(n + 1)
        for b in range(n - a + 1)
        for c in range(n - a - b + 1)
    ]


@pytest.mark.parametrize("n", [10, 20])
def test_newcombe_covers_by_enumeration_of_every_table(n):
    tables = all_tables(n)
    ends = np.array([newcombe(table)[:2] for table in tables])
    coverages = []
    for p_a in (0.05, 0.3, 0.5, 0.8, 0.95):
        for p_b in (0.1, 0.5, 0.9):
            for overlap in (0.0, 0.5, 1.0):  # from independent to as alike as the rates allow
                both = p_a * p_b + overlap * (min(p_a, p_b) - p_a * p_b)
                cells = [both, p_a - both, p_b - both, 1 - p_a - p_b + both]
                weight = multinomial.pmf(np.array(tables), n, np.clip(cells, 0, 1))
                coverages.append(weight[(ends[:, 0] <= p_b - p_a + 1e-12) & (p_b - p_a - 1e-12 <= ends[:, 1])].sum())
    assert min(coverages) > 0.90
    assert 0.945 < np.mean(coverages) < 0.985


def test_newcombe_seldom_calls_a_policy_within_a_margin_that_it_is_not_by_enumeration():
    """B is worse by exactly the margin; the lower end of a 95 % interval errs at about 2.5 %."""
    tables = all_tables(30)
    lows = np.array([newcombe(table).low for table in tables])
    errors = []
    for margin in (0.05, 0.1):
        for p_a in (0.6, 0.8, 0.9, 0.95):
            p_b = p_a - margin
            for overlap in (0.0, 0.5, 0.9):
                both = p_a * p_b + overlap * (p_b - p_a * p_b)
                cells = [both, p_a - both, p_b - both, 1 - p_a - p_b + both]
                errors.append(multinomial.pmf(np.array(tables), 30, cells)[lows > -margin].sum())
    assert max(errors) < 0.05
    assert np.mean(errors) == pytest.approx(0.02, abs=0.01)


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_scipys_sign_test(only_a, only_b):
    oracle = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar_exact(only_a, only_b) == pytest.approx(oracle, rel=1e-9)


def test_mcnemar_published_value():
    assert mcnemar_exact(12, 2) == mcnemar_exact(2, 12) == pytest.approx(0.01294, abs=5e-6)


def test_mcnemar_is_never_wrong_more_often_than_it_says_by_enumeration():
    for n in range(1, 61):
        p_values = np.array([mcnemar_exact(k, n - k) for k in range(n + 1)])
        weight = np.array([comb(n, k) / 2**n for k in range(n + 1)])
        for alpha in (0.01, 0.05, 0.2):
            assert weight[p_values <= alpha].sum() <= alpha


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_the_gambler_expects_to_keep_its_wealth(only_a, only_b):
    wealth = exp(log_e_value(only_a, only_b))
    after = (exp(log_e_value(only_a + 1, only_b)) + exp(log_e_value(only_a, only_b + 1))) / 2
    assert after == pytest.approx(wealth, rel=1e-9)
    assert wealth == pytest.approx(exp(log_e_value(only_b, only_a)))


def test_e_value_in_closed_form():
    assert log_e_value(0, 0) == 0
    for only_a, only_b in [(1, 0), (12, 2), (3, 40), (500, 700)]:
        m = only_a + only_b
        assert log_e_value(only_a, only_b) == pytest.approx(m * log(2) - log(m + 1) - log(comb(m, only_a)), abs=1e-9)


def paths(null, runs, pairs, seed):
    """Returns only_a, only_b after every pair of so many runs, shape (runs, pairs) each."""
    both, discordant = null
    outcome = np.random.default_rng(seed).random((runs, pairs), dtype=np.float32)
    only_a = (outcome >= both) & (outcome < both + discordant / 2)
    only_b = (outcome >= both + discordant / 2) & (outcome < both + discordant)
    return only_a.cumsum(axis=1, dtype=np.int16), only_b.cumsum(axis=1, dtype=np.int16)


def table_of(statistic, size):
    return np.array([[statistic(a, b) for b in range(size)] for a in range(size)])


@pytest.mark.parametrize("null", [(0.0, 1.0), (0.6, 0.4), (0.85, 0.1)])
def test_looking_after_every_pair_is_wrong_in_at_most_alpha_of_null_runs(null):
    pairs, runs = 200, 20_000
    only_a, only_b = paths(null, runs, pairs, seed=[20_000, round(100 * null[1])])
    e_values = table_of(log_e_value, pairs + 1)
    for alpha in (0.05, 0.2):
        false_alarms = (e_values[only_a, only_b] >= log(1 / alpha)).any(axis=1).mean()
        assert false_alarms <= alpha
    if null[1] >= 0.4:  # the test can fail: with many discordant pairs, looking at the p-value is wrong far more often
        p_values = table_of(mcnemar_exact, pairs + 1)
        assert (p_values[only_a, only_b] <= 0.05).any(axis=1).mean() > 0.12


def test_looking_after_every_pair_is_wrong_in_at_most_alpha_exactly():
    """Follows every path of 400 discordant pairs at once and stops those that have rejected."""
    threshold, stopped = log(1 / 0.05), 0.0
    alive = np.array([1.0])
    for m in range(1, 401):
        alive = np.convolve(alive, [0.5, 0.5])
        rejected = np.array([log_e_value(k, m - k) >= threshold for k in range(m + 1)])
        stopped += alive[rejected].sum()
        alive[rejected] = 0.0
    assert 0.015 < stopped <= 0.05


def test_a_real_difference_is_decided_soon():
    rng = np.random.default_rng(7)
    cells = rng.choice(4, size=(2000, 200), p=[0.66, 0.04, 0.24, 0.06])
    only_a, only_b = (cells == 1).cumsum(axis=1), (cells == 2).cumsum(axis=1)
    decided = table_of(log_e_value, 201)[only_a, only_b] >= log(20)
    used = np.where(decided.any(axis=1), decided.argmax(axis=1) + 1, 200)
    assert decided[:, :100].any(axis=1).mean() == pytest.approx(0.92, abs=0.03)
    assert used.mean() == pytest.approx(57, abs=4)


@pytest.mark.parametrize(
    "refused",
    [
        lambda: mcnemar_exact(-1, 2),
        lambda: log_e_value(2, -1),
        lambda: newcombe(PairedCounts(1, 2, -1, 3)),
        lambda: newcombe(PairedCounts(1, 2, 1, 3), 1.0),
    ],
)
def test_impossible_arguments_are_refused(refused):
    with pytest.raises(ValueError, match="expected"):
        refused()


def test_no_pairs_say_nothing():
    assert newcombe(PairedCounts(0, 0, 0, 0))[:2] == (-1.0, 1.0)
    assert mcnemar_exact(0, 0) == 1.0


def integrated_log_wealth(counts, difference):
    """Returns the gambler's wealth by bets, one after the other, and a sum over his stakes instead of an integral."""
    stakes = (np.arange(20_000) + 0.5) / 20_000
    r = (1 + difference) / 2
    outcomes = {1: counts.only_b, -1: counts.only_a, 0: counts.both + counts.neither}
    wealth = np.zeros_like(stakes)
    for x, count in outcomes.items():
        factor = stakes * (1 + x) / (2 * r) + (1 - stakes) * (1 - x) / (2 * (1 - r))
        wealth += count * np.log(factor)
    return np.logaddexp.reduce(wealth) - log(len(stakes))


@pytest.mark.parametrize("counts", [(3, 2, 9, 1), (30, 4, 8, 8), (0, 5, 0, 0), (66, 4, 24, 6), (4, 0, 0, 6)])
def test_difference_sequence_ends_where_the_gambler_has_won(counts):
    counts = PairedCounts(*counts)
    for end in difference_sequence(counts)[:2]:
        if abs(end) < 1:
            assert integrated_log_wealth(counts, end) == pytest.approx(log(20), abs=2e-3)


@settings(deadline=None)
@given(st.builds(PairedCounts, *[st.integers(0, 60)] * 4), st.sampled_from([0.5, 0.95, 0.999]))
def test_difference_sequence_agrees_with_the_verdict_and_contains_what_was_seen(counts, level):
    low, high, _ = difference_sequence(counts, level)
    assert -1 <= low <= counts.difference <= high <= 1
    decided = log_e_value(counts.only_a, counts.only_b) >= log(1 / (1 - level))
    assert (low > 0 or high < 0) == decided
    swapped = counts._replace(only_a=counts.only_b, only_b=counts.only_a)
    assert difference_sequence(swapped, level)[:2] == pytest.approx((-high, -low))


@settings(deadline=None)
@given(st.builds(PairedCounts, *[st.integers(0, 60)] * 4))
@example(PairedCounts(0, 0, 37, 0))
def test_difference_sequence_is_no_wider_than_one_joined_from_two_shares_and_wider_than_for_one_look(counts):
    low, high, _ = difference_sequence(counts)
    of_a, of_b = (confidence_sequence(count, counts.n, 0.975) for count in (counts.only_a, counts.only_b))
    one_sided = max(counts.only_a, counts.only_b) >= 0.95 * counts.n
    excess = 0.03 if one_sided else 1e-9
    assert of_b.low - of_a.high <= low + excess
    assert high - excess <= of_b.high - of_a.low
    if counts.n >= 20:
        one_look = newcombe(counts)
        assert high - low >= one_look.high - one_look.low


@pytest.mark.parametrize("runs", [400, pytest.param(1500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("cells", [(0.66, 0.04, 0.24, 0.06), (0.8, 0.05, 0.05, 0.1), (0.1, 0.0, 0.05, 0.85)])
def test_difference_sequence_covers_at_every_look(cells, runs):
    """Looks after every pair: the true difference is left out by the gambler's wealth there, not by bisection."""
    difference, pairs, missed = cells[2] - cells[1], 120, 0
    rng = np.random.default_rng(3)

    @functools.cache
    def is_left_out(only_a, only_b, n):
        return integrated_log_wealth(PairedCounts(n - only_a - only_b, only_a, only_b, 0), difference) >= log(20)

    for outcomes in rng.choice(4, size=(runs, pairs), p=cells):
        only_a, only_b = (outcomes == 1).cumsum(), (outcomes == 2).cumsum()
        looks = range(4, pairs, 5)
        missed += any(is_left_out(int(only_a[n]), int(only_b[n]), n + 1) for n in looks)
    assert missed / runs <= 0.05


def test_difference_sequence_without_pairs_or_sense():
    assert difference_sequence(PairedCounts(0, 0, 0, 0))[:2] == (-1.0, 1.0)
    with pytest.raises(ValueError, match="expected"):
        difference_sequence(PairedCounts(1, -1, 0, 0))
    with pytest.raises(ValueError, match="expected"):
        difference_sequence(PairedCounts(1, 1, 0, 0), 1.0)
