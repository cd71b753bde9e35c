"""Reads the folder of a battery: the policy that is tested, the expert, further policies, and other options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eval.battery.battery_run import BatteryRun
from eval.battery.cells import Outcomes
from eval.battery.findings import BatteryFindings, find
from eval.runs.media_paths import EXPERT_FOLDER, OPTIONS_FOLDER, POLICIES_FOLDER
from eval.runs.reading import read_run
from eval.runs.versions import RECORD_FILE


@dataclass(frozen=True, kw_only=True)
class BatteryFolder:
    """All runs of one battery."""

    tested: BatteryRun
    """The policy that is tested, in every arm."""
    expert: BatteryRun | None
    """The privileged expert, in the arms that concern it; None if there is none, or if its run is not complete."""
    policies: tuple[BatteryRun, ...]
    """Further policies whose runs are complete."""
    options: dict[str, BatteryRun]
    """The policy with other options, on the unperturbed starts: "n_action_steps=1" to its complete run."""

    def findings(self, policy: BatteryRun | None = None) -> BatteryFindings:
        """Return the findings about one of the policies, by default the one that is tested."""
        return find((policy or self.tested).outcomes, self.expert.outcomes if self.expert else None)

    @property
    def option_outcomes(self) -> dict[str, Outcomes]:
        """The episodes with each other option."""
        return {name: run.outcomes for name, run in self.options.items()}

    @property
    def has_errors(self) -> bool:
        """Whether an episode of any run could not be run."""
        runs = (self.tested, *([self.expert] if self.expert else []), *self.policies, *self.options.values())
        return any(each.outcomes.errors for each in runs)


def read_battery(folder: Path) -> BatteryFolder:
    """Read the battery in `folder`.

    Raises:
        ResultsError: If a run is missing or damaged.
        SimScaleError: If `folder` holds no battery, or no start has run in every arm yet.
    """
    tested = BatteryRun.of(read_run(folder))
    return BatteryFolder(
        tested=tested,
        expert=_read_if_complete(folder / EXPERT_FOLDER),
        policies=tuple(_read_all(folder / POLICIES_FOLDER).values()),
        options=_read_all(folder / OPTIONS_FOLDER),
    )


def runs_below(folder: Path) -> list[Path]:
    """Return the folders of the runs below the battery in `folder`, relative to it, complete or not."""
    found = [folder / EXPERT_FOLDER, *folder.glob(f"{POLICIES_FOLDER}/*"), *folder.glob(f"{OPTIONS_FOLDER}/*")]
    return [path.relative_to(folder) for path in found if (path / RECORD_FILE).exists()]


def _read_all(folder: Path) -> dict[str, BatteryRun]:
    """Return the runs in the folders below `folder`, by the name of their folder."""
    found = {path.name: _read_if_complete(path) for path in sorted(folder.glob("*"))}
    return {name: run for name, run in found.items() if run}


def _read_if_complete(folder: Path) -> BatteryRun | None:
    """Return the run in `folder`; None if it is not complete."""
    run = read_run(folder) if (folder / RECORD_FILE).exists() else None
    return BatteryRun.of(run) if run and run.results and run.is_complete else None
