"""Findings of a battery from known outcomes: drops, area, halving, ceilings, pairs, largest drop."""

import pytest
from battery_folders import FALLING, write_battery, write_expert
from run_folders import LIGHT, MASS, write_run

from eval.battery.as_json import battery_to_json
from eval.battery.battery_run import BatteryRun
from eval.battery.reading import read_battery
from eval.battery.text import battery_rows
from eval.episodes.battery import Battery
from eval.runs.reading import read_run
from eval.statistics.multiplicity import holm
from eval.statistics.paired import PairedCounts, newcombe
from eval.statistics.rates import wilson
from simscaleai.errors import SimScaleError


def found(folder):
    return read_battery(folder).findings()


def rows(folder):
    return list(battery_rows(read_battery(folder)))


def test_an_axis_has_its_success_rates_drops_and_the_level_at_which_success_halves(tmp_path):
    light, mass = found(write_battery(tmp_path / "a", FALLING)).axes
    assert [cell.successes for cell in light.cells.values()] == [20, 20, 10, 0]
    assert light.cells[3].interval == wilson(10, 20)
    assert light.drops[3][:3] == pytest.approx((-0.5, *newcombe(PairedCounts(10, 10, 0, 0))[:2]))
    assert light.drop.value == pytest.approx(-0.5)
    assert light.area.value == pytest.approx((1 + 1) / 2 / 5 + (1 + 0.5) / 5 + 0.5 / 5)
    assert light.halving.at == 3
    assert light.halving_magnitude == 30
    assert mass.halving == (None, None, None)


def test_the_largest_significant_drop_is_named_and_p_values_are_adjusted_over_axes(tmp_path):
    findings = found(write_battery(tmp_path / "a", FALLING))
    assert findings.worst.axis == LIGHT
    assert [axis.holm_p for axis in findings.axes] == holm([axis.p_value for axis in findings.axes])
    assert found(write_battery(tmp_path / "b", {"light.intensity=5": 0.95})).worst is None


def test_the_expert_is_the_ceiling_where_it_ran_and_its_control_elsewhere(tmp_path):
    folder = write_battery(tmp_path / "a", FALLING)
    write_expert(folder, {"object.mass=5": 0.6})
    light, mass = found(folder).axes
    assert (light.ceiling, [cell.successes for cell in light.ceilings.values()]) == ("control", [20] * 4)
    assert (mass.ceiling, [cell.successes for cell in mass.ceilings.values()]) == ("run", [20, 20, 20, 12])
    assert "expert 100 100  60 %" in "\n".join(text for _, text in rows(folder))


def test_without_an_expert_the_rows_say_so(tmp_path):
    folder = write_battery(tmp_path / "a", FALLING, battery=Battery(axes=(LIGHT,), levels=(1, 3, 5)))
    assert "no ceiling: this environment has no expert" in dict(rows(folder))["expert"]
    folder = write_battery(tmp_path / "b", FALLING, battery=Battery(axes=(LIGHT,), levels=(1, 3, 5), has_expert=True))
    assert "--resume" in dict(rows(folder))["expert"]


PAIRS = Battery(axes=(LIGHT, MASS), levels=(1, 3), pair_level=3)


def test_a_pair_that_fails_more_than_its_parts(tmp_path):
    apart = {"light.intensity=3": range(18, 20), "object.mass=3": range(16, 18)}
    together = apart | {"light.intensity=3 object.mass=3": range(2, 20)}
    (pair,) = found(write_battery(tmp_path / "a", {}, battery=PAIRS, failing=together)).pairs
    assert pair.excess.value == pytest.approx(0.1 - 0.9 + 0.1)
    assert pair.fails_more
    added = apart | {"light.intensity=3 object.mass=3": range(16, 20)}
    (pair,) = found(write_battery(tmp_path / "b", {}, battery=PAIRS, failing=added)).pairs
    assert pair.excess.value == pytest.approx(0)
    assert not pair.fails_more


def test_intervals_of_pairs_are_adjusted_for_their_number(tmp_path):
    axes = (LIGHT, MASS, *PAIRS.axes[:0])
    (pair,) = found(write_battery(tmp_path / "a", {}, battery=Battery(axes=axes, levels=(3,), pair_level=3))).pairs
    assert pair.excess.level == 0.95


def test_only_starts_that_every_arm_has_count(tmp_path):
    folder = write_battery(tmp_path / "a", FALLING, n=5, planned=100)
    lines = (folder / "episodes.jsonl").read_text().splitlines(keepends=True)
    (folder / "episodes.jsonl").write_text("".join(lines[:-1]))
    assert found(folder).control.n == 4
    (folder / "episodes.jsonl").write_text("".join(lines[:3]))
    with pytest.raises(SimScaleError, match="--resume"):
        found(folder)


def test_an_episode_that_could_not_be_run_is_no_success_and_is_reported(tmp_path):
    folder = write_battery(tmp_path / "a", FALLING, outcome="E")
    assert found(folder).axes[0].cells[5].successes == 0
    assert "30 episodes could not be run" in dict(rows(folder))["errors"]


def test_a_plain_run_is_no_battery(tmp_path):
    with pytest.raises(SimScaleError, match="plain run"):
        BatteryRun.of(read_run(write_run(tmp_path / "a", "++-")))


def test_the_json_holds_n_interval_control_and_ceiling_of_every_cell(tmp_path):
    folder = write_battery(tmp_path / "a", FALLING)
    write_expert(folder)
    data = battery_to_json(read_battery(folder))
    assert data["control"]["n"] == 20
    for axis in data["axes"]:
        for level in axis["levels"].values():
            assert {"n", "wilson_95", "drop", "ceiling"} <= level.keys()
            assert level["ceiling"]["n"] == 20
    assert data["largest_drop"] == "light.intensity"
