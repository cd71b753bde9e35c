"""A run that is a battery: the run of one policy, with its episodes by arm."""

from __future__ import annotations

from dataclasses import dataclass

from eval.battery.cells import Outcomes
from eval.runs.run import Run
from simscaleai.errors import SimScaleError


@dataclass(frozen=True)
class BatteryRun:
    """The run of one policy in a battery."""

    run: Run
    outcomes: Outcomes
    """Its episodes by arm; at least one start has run in every arm."""

    @classmethod
    def of(cls, run: Run) -> BatteryRun:
        """Return `run` as a battery.

        Raises:
            SimScaleError: If it is no battery, or no start has run in every arm.
        """
        if run.record.battery is None:
            raise SimScaleError(f"expected the run of a robustness battery, {run.folder} is a plain run")
        made = cls(run, Outcomes(run.record.battery, run.results))
        if not made.outcomes.seeds:
            raise SimScaleError(f"no start of {run.folder} has run in every arm yet; add --resume to continue the run")
        return made

    @property
    def name(self) -> str:
        """The policy, as the user named it."""
        return self.run.record.policy.model
