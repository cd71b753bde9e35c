"""The average over tasks: its interval covers the truth in simulations, and agrees with Wilson's where it must."""

import numpy as np
import pytest

from eval.statistics.rates import wilson
from eval.statistics.stratified import average_rate


def test_every_task_has_the_same_weight():
    assert average_rate([(10, 10), (0, 40)])[0] == 0.5
    assert average_rate([(10, 10), (0, 0)]) == average_rate([(10, 10)])
    assert average_rate([]) == (0.0, (0.0, 1.0, 0.95))


def test_tasks_that_are_alike_are_as_one_task_with_all_episodes():
    assert average_rate([(25, 50)] * 10)[1] == pytest.approx(wilson(250, 500))
    assert average_rate([(50, 50)] * 10)[1] == pytest.approx(wilson(500, 500))
    assert average_rate([(0, 20)] * 3)[1].low == 0


def test_tasks_that_differ_have_a_narrower_interval():
    _, (low, high, _) = average_rate([(50, 50), (0, 50)])
    pooled = wilson(50, 100)
    assert high - low < 0.4 * (pooled.high - pooled.low)


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="successes"):
        average_rate([(3, 2)])


TASKS = {
    "alike": [0.5] * 5,
    "from easy to hard": [0.05, 0.3, 0.5, 0.8, 0.95],
    "nearly solved": [0.95, 0.98, 0.99, 0.9, 1.0],
    "hardly solved": [0.0, 0.02, 0.05, 0.1, 0.01],
    "two": [0.2, 0.9],
    "ten": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99],
    "all or nothing": [0.0, 0.0, 1.0, 1.0, 0.5],
}


@pytest.mark.parametrize("n", [10, 20, 50])
@pytest.mark.parametrize("name", TASKS)
def test_the_interval_covers_the_true_average(name, n):
    rng, rates = np.random.default_rng(7), np.array(TASKS[name])
    for episodes in (n, np.where(np.arange(len(rates)) % 2, n, 2 * n)):  # the second: a run that is not complete
        drawn, of_task = (
            rng.binomial(episodes, rates, (2000, len(rates))).tolist(),
            np.broadcast_to(episodes, len(rates)),
        )
        covered = 0
        for successes in drawn:
            _, (low, high, _) = average_rate(list(zip(successes, of_task.tolist(), strict=True)))
            covered += low <= rates.mean() + 1e-12 and high >= rates.mean() - 1e-12
        assert covered / 2000 > 0.925  # Wilson's own coverage goes down to 0.93 for so few episodes
