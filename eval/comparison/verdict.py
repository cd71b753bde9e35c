"""The verdict about two policies A and B on the same episodes, from counts of pairs.

If the number of pairs was fixed in advance, the verdict rests on the exact McNemar test and Newcombe's interval. If a
rule may have stopped a run early ("sequential"), it rests on an e-value and an interval that are valid at every look.
"""

from __future__ import annotations

from enum import Enum
from math import exp

from eval.statistics.paired import PairedCounts, difference_sequence, log_e_value, mcnemar_exact, newcombe
from eval.statistics.rates import LEVEL, Interval


class Verdict(Enum):
    """What a comparison says about B."""

    BETTER = "better"
    NON_INFERIOR = "within the margin"
    WORSE = "worse"
    UNDECIDED = "cannot tell"


def verdict_of(counts: PairedCounts, margin: float | None, *, sequential: bool) -> Verdict:
    """Return the verdict about B.

    "Better" and "worse" have a type-I error of at most 5 %. "Within the margin" (non-inferior) means that the whole
    interval of the difference is above -`margin`; B may be worse by less than the margin. It has a type-I error of
    about 2.5 %.

    Args:
        counts: Outcomes of the pairs.
        margin: Non-inferiority margin: how much lower the success probability of B may be, in (0, 1); None without a
            margin.
        sequential: Whether a rule may have stopped a run early.
    """
    interval = difference_interval(counts, sequential=sequential)
    return verdict_from(p_value_of(counts, sequential=sequential), counts.difference, interval.low, margin)


def verdict_from(p_value: float, difference: float, low: float, margin: float | None) -> Verdict:
    """Return the verdict about B from the figures of a comparison.

    Args:
        p_value: p-value of "A and B are equally good".
        difference: Success rate of B minus success rate of A.
        low: Lower end of the interval of the difference.
        margin: Non-inferiority margin, in (0, 1); None without a margin.
    """
    decided = p_value <= 1 - LEVEL
    if decided and difference > 0:
        return Verdict.BETTER
    if margin is not None and low > -margin:
        return Verdict.NON_INFERIOR
    return Verdict.WORSE if decided else Verdict.UNDECIDED


def p_value_of(counts: PairedCounts, *, sequential: bool) -> float:
    """Return the p-value of "A and B succeed equally often"; 1 / e, which may exceed 1, if `sequential`."""
    if sequential:
        return exp(-log_e_value(counts.only_a, counts.only_b))
    return mcnemar_exact(counts.only_a, counts.only_b)


def difference_interval(counts: PairedCounts, *, sequential: bool) -> Interval:
    """Return the interval of the difference of the success probabilities, B minus A."""
    return difference_sequence(counts) if sequential else newcombe(counts)
