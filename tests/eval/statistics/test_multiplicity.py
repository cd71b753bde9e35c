"""Holm's method: a published example, the step-down procedure as oracle, and the error of a whole family."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.statistics.multiplicity import holm


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
