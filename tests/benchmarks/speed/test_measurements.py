"""Some rows of the speed table, as shares with room for a busy machine: a higher one shows that something broke."""

import pytest

from benchmarks.speed import measurements


@pytest.mark.slow
def test_a_scripted_run_is_mostly_physics():
    assert min(measurements.rollout_share(episodes=200) for _ in range(3)) < 0.35
