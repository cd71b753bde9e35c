"""The table of batteries: each row with its command; and the rate of perturbed episodes, for each axis."""

import re

from benchmarks import battery_rates, battery_table
from envs.registration import find_environment
from eval import robustness
from policies.registry import make_policy


def test_a_row_says_what_was_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = "--model scripted --policy-option synchronous=true --env reach --axes robot.start --levels 2 --episodes 2"
    assert robustness.main([*words.split(), "--seed", "3000000000", "--quiet", "--output", "battery"]) == 0
    control, second = battery_table.rows(tmp_path / "battery")
    assert (second["policy"], second["axis"], second["level"]) == ("scripted synchronous=true", "robot.start", "2")
    assert (control["successes"], second["n"], second["magnitude"]) == (2, 2, "0.2 rad")
    for part in ("eval.robustness --", *words.split("--")[1:], "--seed 3000000000"):
        assert part.strip() in second["command"]
    assert "--output" not in second["command"]


def test_a_rate_of_perturbed_episodes_is_measured_for_each_axis_and_for_all():
    registration = find_environment("reach")
    pace = battery_rates.Pace(make_policy("scripted", spec=registration.offer()), registration, episodes=2)
    axes = pace.axes()
    assert list(axes)[-1] == battery_rates.ALL
    assert {"robot.start", "distractors", "latency"} < axes.keys()
    assert len(axes[battery_rates.ALL]) == len(axes) - 1
    assert not re.search("light|camera", " ".join(axes))  # the expert sees no images
    assert all(0.05 < ratio < 20 for ratio in pace.ratios(axes["action.noise"], rounds=2))
