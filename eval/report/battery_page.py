"""The page of robustness batteries: one HTML file that needs no other file and no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.battery.battery_run import BatteryRun
from eval.battery.cells import Cell
from eval.battery.comparison import BatteryComparison, compare_batteries
from eval.battery.differences import Difference, option_differences
from eval.battery.findings import AxisFindings, BatteryFindings
from eval.battery.reading import BatteryFolder
from eval.battery.wording import (
    battery_verdict_text,
    ceiling_reason,
    drop_text,
    halving_text,
    largest_drop_text,
    limits,
    no_ceiling_text,
)
from eval.comparison.conditions import NotComparableError
from eval.comparison.replay import replay_command
from eval.episodes.battery import CONTROL
from eval.report.templating import environment, page_parts
from eval.runs.media_paths import REPORT_FILE, frame_path
from simscaleai.files import replace_file

_MOST_FRAME_BYTES = 6_000_000
"""Largest size of all pictures of a page together; base64 adds a third."""


@dataclass(frozen=True, kw_only=True)
class AxisView:
    """One axis on the page."""

    found: AxisFindings
    failures: Mapping[str, tuple[int, ...]]
    """Class of failure to the number of episodes at each level."""
    frames: Mapping[int, str]
    """Level to the picture of the first start, a PNG in base64; the control at level 0. Empty if all look the same."""
    replay: str
    """Command that runs the first failure at the worst level again."""


@dataclass(frozen=True, kw_only=True)
class PolicyView:
    """One policy on the page."""

    policy: BatteryRun
    findings: BatteryFindings
    axes: tuple[AxisView, ...]
    limits: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class OptionView:
    """The control with another option of the policy."""

    cell: Cell
    difference: Difference


def render_battery_page(batteries: Sequence[BatteryFolder]) -> str:
    """Return the page of `batteries`. The first policy of the first one is compared with all other policies."""
    first, images = batteries[0], _Images()
    policies = [_policy_view(battery, policy, images) for battery in batteries for policy in _policies(battery)]
    comparisons, obstacles = _comparisons([view.policy for view in policies])
    return (
        environment()
        .get_template("battery.html.jinja")
        .render(
            policies=policies,
            options=_options(first),
            comparisons=comparisons,
            obstacles=obstacles,
            folders=[str(battery.tested.run.folder) for battery in batteries],
            drop_text=drop_text,
            halving_text=halving_text,
            ceiling_reason=ceiling_reason,
            largest_drop_text=largest_drop_text,
            no_ceiling_text=no_ceiling_text,
            verdict_text=battery_verdict_text,
            **page_parts(),
        )
    )


def write_battery_page(battery: BatteryFolder) -> Path:
    """Write the page of `battery` into its folder and return the path.

    Raises:
        WriteError: If the file cannot be written.
    """
    path = battery.tested.run.folder / REPORT_FILE
    replace_file(path, render_battery_page([battery]).encode())
    return path


def _policies(battery: BatteryFolder) -> list[BatteryRun]:
    return [battery.tested, *battery.policies]


def _policy_view(battery: BatteryFolder, policy: BatteryRun, images: _Images) -> PolicyView:
    findings = battery.findings(policy)
    return PolicyView(
        policy=policy,
        findings=findings,
        axes=tuple(_axis_view(policy, axis, images) for axis in findings.axes),
        limits=tuple(limits(findings)),
    )


def _axis_view(policy: BatteryRun, axis: AxisFindings, images: _Images) -> AxisView:
    cells = list(axis.cells.values())
    names = dict.fromkeys(name for cell in cells for name in cell.failures)
    worst = min(cells[1:], key=lambda cell: cell.rate)
    return AxisView(
        found=axis,
        failures={name: tuple(cell.failures.get(name, 0) for cell in cells) for name in names},
        frames=images.of_axis(policy.run.folder, axis),
        replay=replay_command(policy.run, [worst.example]),
    )


def _options(battery: BatteryFolder) -> list[OptionView]:
    differences = option_differences(battery.tested.outcomes, battery.option_outcomes)
    return [OptionView(cell=battery.options[each.name].outcomes.control, difference=each) for each in differences]


def _comparisons(policies: Sequence[BatteryRun]) -> tuple[list[BatteryComparison], dict[str, list[str]]]:
    """Return the comparisons with the first policy; and for each policy that cannot be compared, the reasons."""
    comparisons: list[BatteryComparison] = []
    obstacles: dict[str, list[str]] = {}
    for other in policies[1:]:
        try:
            comparisons.append(compare_batteries(policies[0].run, other.run))
        except NotComparableError as error:
            obstacles[other.name] = error.differences
    return comparisons, obstacles


class _Images:
    """Reads pictures until they would make the page too large."""

    def __init__(self) -> None:
        self._left = _MOST_FRAME_BYTES

    def of_axis(self, folder: Path, axis: AxisFindings) -> dict[int, str]:
        """Return the picture of each level of `axis` that looks different from the control, and of the control."""
        found = {level: self._read(frame_path(folder, cell.arm)) for level, cell in axis.cells.items() if level}
        shown = {level: image for level, image in found.items() if image}
        control = self._read(frame_path(folder, CONTROL)) if shown else ""
        return {0: control, **shown} if control else {}

    def _read(self, path: Path) -> str:
        """Return the file in base64; "" if there is none, or if no space is left."""
        if not path.is_file() or path.stat().st_size > self._left:
            return ""
        content = path.read_bytes()
        self._left -= len(content)
        return base64.b64encode(content).decode("ascii")
