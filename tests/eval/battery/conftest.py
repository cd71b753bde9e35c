"""Batteries made from typed records in no time, without any simulation."""

from dataclasses import replace

import pytest
from run_folders import LIGHT, MASS, RECORD, changed, episode, write_run

from eval.episodes.battery import Battery
from eval.execution.planning import plan_battery
from eval.runs.media_paths import EXPERT_FOLDER


@pytest.fixture
def write_battery(tmp_path):
    """Makes the run of a battery: `rates` maps the name of an arm, or "" for the control, to a success rate.

    The starts that fail first are those with the highest seeds, so the outcomes of the arms are nested.
    """

    def write(name, rates, *, n=20, battery=None, failing=None, record=RECORD, outcome="-", planned=None):
        battery = battery or Battery(axes=(LIGHT, MASS), levels=(1, 3, 5), has_expert=True)
        failing = failing or {}
        results = []
        for spec in plan_battery(battery, range(n)):
            fails = failing.get(spec.arm or "", range(round(rates.get(spec.arm or "", 1.0) * n), n))
            made = episode(spec.episode_index, spec.seed, outcome if spec.seed in fails else "+")
            results.append(replace(made, arm=spec.arm, perturbation=spec.perturbation))
        record = changed(record, battery=battery)
        return write_run(tmp_path / name, "+" * len(results), record=record, results=results, planned=planned)

    return write


@pytest.fixture
def write_expert(write_battery):
    """Makes the run of the expert beside a battery. It has only the axes that concern it."""

    def write(name, rates=None, *, n=20):
        battery = Battery(axes=(MASS,), levels=(1, 3, 5))
        return write_battery(name / EXPERT_FOLDER, rates or {}, n=n, battery=battery)

    return write
