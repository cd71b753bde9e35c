"""Success over the level of each perturbation, for the page of a robustness battery."""

from __future__ import annotations

from typing import Any

from eval.battery.battery_run import BatteryRun
from eval.battery.cells import Cell
from eval.battery.findings import AxisFindings
from eval.battery.reading import BatteryFolder, read_battery
from eval.battery.wording import drop_text, halving_text, largest_drop_text, no_ceiling_text
from eval.runs.run import Run


def curves_page(run: Run) -> dict[str, Any]:
    """Return the curves of the battery in the folder of `run` as plain JSON data.

    Raises:
        ResultsError: If a run of the battery is damaged.
        SimScaleError: If no start has run in every arm yet.
    """
    battery = read_battery(run.folder)
    return {"policies": [_policy(battery, policy) for policy in (battery.tested, *battery.policies)]}


def _policy(battery: BatteryFolder, policy: BatteryRun) -> dict[str, Any]:
    found = battery.findings(policy)
    return {
        "name": policy.name,
        "largest": largest_drop_text(found),
        "ceiling": None if found.expert else no_ceiling_text(found),
        "axes": [_axis(axis) for axis in found.axes],
    }


def _axis(axis: AxisFindings) -> dict[str, Any]:
    return {
        "name": axis.axis.name,
        "unit": axis.axis.unit,
        "drop": drop_text(axis.drop),
        "halving": halving_text(axis),
        "significant": axis.is_significant,
        "levels": [
            [level, axis.axis.magnitude(level) if level else 0, *_rate(cell)] for level, cell in axis.cells.items()
        ],
        "ceilings": [[level, cell.rate] for level, cell in axis.ceilings.items()],
    }


def _rate(cell: Cell) -> list[float]:
    return [cell.successes, cell.n, cell.interval.low, cell.interval.high]
