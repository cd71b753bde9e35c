"""The rate of perturbed episodes, for each axis."""

import re

from benchmarks.speed import battery_rates
from envs.registration import find_environment
from policies.registry import make_policy


def test_a_rate_of_perturbed_episodes_is_measured_for_each_axis_and_for_all():
    registration = find_environment("reach")
    pace = battery_rates.Pace(make_policy("scripted", spec=registration.offer()), registration, episodes=2)
    axes = pace.axes()
    assert list(axes)[-1] == battery_rates.ALL
    assert {"robot.start", "distractors", "latency"} < axes.keys()
    assert len(axes[battery_rates.ALL]) == len(axes) - 1
    assert not re.search("light|camera", " ".join(axes))  # the expert sees no images
    assert all(0.05 < ratio < 20 for ratio in pace.ratios(axes["action.noise"], rounds=2))
