"""Two policies in the same battery, paired by arm and seed: the difference for each axis, and over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from eval.battery.battery_run import BatteryRun
from eval.battery.differences import Difference, adjusted, difference
from eval.comparison.conditions import NotComparableError, warnings_about
from eval.comparison.verdict import Verdict, verdict_from
from eval.episodes.battery import CONTROL
from eval.runs.run import Run, seeds_text
from simscaleai.perturbation import Axis


@dataclass(frozen=True, kw_only=True)
class BatteryComparison:
    """Two policies in the same battery. All differences are B minus A."""

    a: BatteryRun
    b: BatteryRun
    margin: float | None
    """Non-inferiority margin: how much lower the mean success rate of B may be; None without a margin."""
    warnings: tuple[str, ...]
    """What besides the policies may explain a difference."""

    @cached_property
    def control(self) -> Difference:
        """The difference over the unperturbed starts."""
        return difference(self.a.outcomes, self.b.outcomes, CONTROL, [CONTROL])

    @cached_property
    def axes(self) -> tuple[Difference, ...]:
        """The difference for each axis, over its levels above 0."""
        a, b, arms_of = self.a.outcomes, self.b.outcomes, self.a.outcomes.battery.arms_of
        axes = _common_axes(self.a, self.b)
        return adjusted([difference(a, b, axis.name, [arm.name for arm in arms_of(axis)]) for axis in axes])

    @cached_property
    def overall(self) -> Difference:
        """The difference over all perturbed arms that both have."""
        return self._overall(errors_of_a=False, errors_of_b=False)

    @property
    def verdict(self) -> Verdict:
        """The verdict about B over all perturbed arms; undecided if it depends on episodes that could not be run."""
        verdicts = {
            verdict_from(found.p_value, found.estimate.value, found.estimate.low, self.margin)
            for found in (self.overall, self._overall(errors_of_a=True), self._overall(errors_of_b=True))
        }
        return verdicts.pop() if len(verdicts) == 1 else Verdict.UNDECIDED

    @property
    def errors(self) -> tuple[int, int]:
        """Number of episodes of A and of B that could not be run."""
        return self.a.outcomes.errors, self.b.outcomes.errors

    def _overall(self, *, errors_of_a: bool = False, errors_of_b: bool = False) -> Difference:
        a, b = self.a.outcomes, self.b.outcomes
        arms = [arm.name for arm in a.battery.arms if arm in b.battery.arms]
        return difference(a, b, "overall", arms, errors_of_a=errors_of_a, errors_of_b=errors_of_b)


def compare_batteries(a: Run, b: Run, margin: float | None = None) -> BatteryComparison:
    """Compare two policies in the axes and pairs of axes that both batteries have.

    Args:
        a: The run to compare with.
        b: The run to judge.
        margin: Non-inferiority margin: how much lower the mean success rate of B may be, in (0, 1).

    Raises:
        NotComparableError: If a run is not complete, or starts, levels or conditions differ.
    """
    differences = list(_obstacles(a, b))
    if differences:
        raise NotComparableError(differences)
    of_a, of_b = BatteryRun.of(a), BatteryRun.of(b)
    return BatteryComparison(a=of_a, b=of_b, margin=margin, warnings=(*warnings_about(a, b), *_left_out(of_a, of_b)))


def _obstacles(a: Run, b: Run) -> Iterator[str]:
    """Yield one line for each reason why two runs cannot be compared as batteries."""
    yield from a.conditions.differences(b.conditions)
    for name, run in (("A", a), ("B", b)):
        if run.record.battery is None:
            yield f"battery: {name} ({run.folder}) is a plain run; compare it with another plain run"
            return
        if not run.is_complete:
            yield f"complete: {name} ({run.folder}) has {len(run.results)} of {run.planned} episodes; finish it first"
            return
    of_a, of_b = BatteryRun.of(a), BatteryRun.of(b)
    if of_a.outcomes.seeds != of_b.outcomes.seeds:
        starts_a, starts_b = (seeds_text(side.outcomes.control.results) for side in (of_a, of_b))
        yield f"seeds: A has {starts_a}; B has {starts_b}"
    levels_a, levels_b = of_a.outcomes.battery.levels, of_b.outcomes.battery.levels
    if levels_a != levels_b:
        yield f"levels: A has {_words(levels_a)}, B has {_words(levels_b)}"
    elif not _common_axes(of_a, of_b):
        yield f"axes: A has {_axes_text(of_a)}; B has {_axes_text(of_b)}; none in common"


def _common_axes(a: BatteryRun, b: BatteryRun) -> list[Axis]:
    return [axis for axis in a.outcomes.battery.axes if axis in b.outcomes.battery.axes]


def _left_out(a: BatteryRun, b: BatteryRun) -> Iterator[str]:
    common = _common_axes(a, b)
    for name, side in (("A", a), ("B", b)):
        alone = [axis.name for axis in side.outcomes.battery.axes if axis not in common]
        if alone:
            yield f"only {name} was tested in {', '.join(alone)}; the comparison leaves these axes out"


def _axes_text(run: BatteryRun) -> str:
    return _words(axis.name for axis in run.outcomes.battery.axes) or "none"


def _words(values: Iterable[object]) -> str:
    return " ".join(map(str, values))
