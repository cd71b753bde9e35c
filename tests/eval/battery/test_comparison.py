"""Two batteries: differences by axis, the verdict over all arms, errors, and what cannot be compared."""

from dataclasses import replace

import pytest
from battery_folders import BATTERY, FALLING, write_battery
from run_folders import LIGHT, MASS, RECORD, changed, make_axis, write_run

from eval.battery.comparison import compare_batteries
from eval.comparison.conditions import NotComparableError
from eval.comparison.verdict import Verdict
from eval.episodes.battery import Battery
from eval.runs.reading import read_run
from eval.statistics.multiplicity import holm
from eval.statistics.paired import PairedCounts, newcombe


def compared(tmp_path, rates_a, rates_b, *, margin=None, **of_b):
    a = read_run(write_battery(tmp_path / "a", rates_a))
    return compare_batteries(a, read_run(write_battery(tmp_path / "b", rates_b, **of_b)), margin)


def test_each_axis_is_compared_over_its_levels_and_adjusted(tmp_path):
    found = compared(tmp_path, FALLING, {})
    light, mass = found.axes
    assert (light.rate_a, light.rate_b, light.estimate.value) == pytest.approx((0.5, 1.0, 0.5))
    assert mass.estimate.value == 0
    assert [each.holm_p for each in found.axes] == holm([light.p_value, mass.p_value])
    assert light.is_significant
    assert not mass.is_significant
    assert found.overall.estimate.value == pytest.approx(0.25)
    assert found.verdict is Verdict.BETTER


def test_the_control_is_compared_as_in_two_plain_runs(tmp_path):
    control = compared(tmp_path, {"": 0.5}, {"": 0.9}).control
    assert control.estimate[1:3] == pytest.approx(newcombe(PairedCounts(10, 0, 8, 2))[:2])


def test_a_policy_may_be_within_the_margin(tmp_path):
    assert compared(tmp_path, {}, {"light.intensity=5": 0.95}, margin=0.2).verdict is Verdict.NON_INFERIOR


def test_the_verdict_is_open_if_it_depends_on_episodes_that_could_not_be_run(tmp_path):
    found = compared(tmp_path, {}, FALLING, outcome="E")
    assert found.verdict is Verdict.UNDECIDED
    assert found.errors == (0, 30)


def test_axes_that_only_one_battery_has_are_left_out_with_a_warning(tmp_path):
    rates = {"light.intensity=5": 0.5, "object.mass=5": 0.0}
    found = compared(tmp_path, rates, {}, battery=Battery(axes=(LIGHT,), levels=(1, 3, 5)))
    assert [each.name for each in found.axes] == ["light.intensity"]
    assert found.overall.rate_a == pytest.approx(2.5 / 3)
    assert any("object.mass" in warning for warning in found.warnings)


OTHER = make_axis("camera.azimuth")


@pytest.mark.parametrize(
    ("of_b", "reason"),
    [
        ({"n": 19}, "seeds: A has 20 episodes, seeds 0 to 19; B has 19 episodes, seeds 0 to 18"),
        ({"battery": replace(BATTERY, levels=(1, 5))}, "levels: A has 1 3 5, B has 1 5"),
        ({"battery": replace(BATTERY, axes=(OTHER,))}, "axes: A has light.intensity object.mass; B has camera.azimuth"),
        ({"planned": 200}, "complete: B"),
        ({"record": changed(RECORD, environment={"digest": "other"})}, "environment digest"),
    ],
)
def test_what_cannot_be_compared(of_b, reason, tmp_path):
    with pytest.raises(NotComparableError, match=reason):
        compared(tmp_path, FALLING, FALLING, **of_b)


def test_a_plain_run_is_not_compared_with_a_battery(tmp_path):
    battery, plain = read_run(write_battery(tmp_path / "a", {})), read_run(write_run(tmp_path / "b", "++"))
    with pytest.raises(NotComparableError, match=r"B \(.*\) is a plain run"):
        compare_batteries(battery, plain)


def test_pairs_of_axes_count_in_the_overall_difference(tmp_path):
    battery = Battery(axes=(LIGHT, MASS), levels=(3,), pair_level=3)
    a, b = (
        read_run(write_battery(tmp_path / name, {"light.intensity=3 object.mass=3": rate}, battery=battery))
        for name, rate in (("a", 1.0), ("b", 0.4))
    )
    assert compare_batteries(a, b).overall.estimate.value == pytest.approx(-0.2)
