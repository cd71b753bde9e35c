"""Batteries made from typed records in no time, without any simulation."""

from dataclasses import replace

from run_folders import LIGHT, MASS, RECORD, changed, episode, write_run

from eval.episodes.battery import Battery
from eval.execution.planning import plan_battery
from eval.runs.media_paths import EXPERT_FOLDER

BATTERY = Battery(axes=(LIGHT, MASS), levels=(1, 3, 5), has_expert=True)
FALLING = {"light.intensity=1": 1.0, "light.intensity=3": 0.5, "light.intensity=5": 0.0}


def write_battery(folder, rates, *, n=20, battery=BATTERY, failing=None, record=RECORD, outcome="-", planned=None):
    """Makes the run of a battery: `rates` maps the name of an arm, or "" for the control, to a success rate.

    The starts that fail first are those with the highest seeds, so the outcomes of the arms are nested. `failing` maps
    the name of an arm to the seeds that fail instead.
    """
    results = []
    for spec in plan_battery(battery, range(n)):
        arm = spec.arm or ""
        fails = (failing or {}).get(arm, range(round(rates.get(arm, 1.0) * n), n))
        made = episode(spec.episode_index, spec.seed, outcome if spec.seed in fails else "+")
        results.append(replace(made, arm=spec.arm, perturbation=spec.perturbation))
    changed_record = changed(record, battery=battery)
    return write_run(folder, "+" * len(results), record=changed_record, results=results, planned=planned)


def write_expert(folder, rates=None, *, n=20):
    """Makes the run of the expert beside a battery. It has only the axes that concern it."""
    battery = Battery(axes=(MASS,), levels=(1, 3, 5))
    return write_battery(folder / EXPERT_FOLDER, rates or {}, n=n, battery=battery)
