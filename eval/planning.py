"""From what a user asks for to the episodes of a run: which seeds, at most how many, and what may end it sooner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.command import plan_text
from eval.comparison import Run, Task
from eval.percentage import points_text
from eval.plan import EpisodeSpec, PlanError, plan_episodes, plan_seeds
from eval.power import MOST_PAIRS, independent_discordance, pairs_needed
from eval.reading import read_run
from eval.rollout_config import RolloutConfig
from eval.stopping import MOST_EPISODES, StoppingRule, UntilDecided, UntilWidth

DEFAULT_EPISODES = 50


@dataclass(frozen=True)
class RunPlan:
    """What a run is to do."""

    specs: tuple[EpisodeSpec, ...]
    """Its episodes, or the most that there may be."""
    rule: StoppingRule | None = None
    """What ends it sooner; None if nothing does."""
    reference: Run | None = None
    """The other run, with --vs."""
    reason: str = ""
    """Why so many episodes, for people; "" if the user said so."""

    @property
    def text(self) -> str:
        """The episodes in a few words."""
        if self.rule is None:
            return plan_text(self.specs)
        against = f" against {self.reference.folder}" if self.reference else ""
        return f"at most {plan_text(self.specs)}, {self.rule.text()}{against}"

    def check_task(self, task: Task) -> None:
        """Refuse to measure something else than the run that this one is to be compared with.

        Raises:
            PlanError: Saying what differs.
        """
        if self.reference is None:
            return
        if differences := "; ".join(self.reference.task.differences(task)):
            raise PlanError(f"not comparable with {self.reference.folder} (A) of --vs: {differences}")


def plan_run(config: RolloutConfig) -> RunPlan:
    """Return what the run of `config` is to do.

    Raises:
        PlanError: If choices contradict each other or the run of --vs, or make no sense.
        ResultsError: If --vs is no run that can be read.
    """
    config.check()
    reference = None if config.vs is None else _read_reference(config.vs)
    if config.until_width is not None:
        return _until_width(config, config.until_width)
    if reference is not None and config.until_decided:
        return _until_decided(config, reference)
    if config.detect is not None:
        return _detecting(config, config.detect, reference)
    return RunPlan(_specs(config, DEFAULT_EPISODES))


def _read_reference(folder: Path) -> Run:
    run = read_run(folder)
    if not run.is_complete:
        raise PlanError(f"expected a complete run with --vs, {folder} has {len(run.results)} of {run.planned} episodes")
    return run


def _specs(config: RolloutConfig, episodes_by_default: int) -> tuple[EpisodeSpec, ...]:
    if config.seeds is not None:
        return plan_seeds(config.seeds)
    return plan_episodes(episodes_by_default if config.episodes is None else config.episodes, config.seed or 0)


def _until_width(config: RolloutConfig, width: float) -> RunPlan:
    rule = UntilWidth(width)
    if rule.most_episodes is None and config.episodes is None and config.seeds is None:
        raise PlanError(
            f"{MOST_EPISODES} episodes may not suffice for a width of {points_text(width)} pp; say with --episodes how "
            "many there may be, or give a larger --until-width"
        )
    return RunPlan(_specs(config, rule.most_episodes or MOST_EPISODES), rule)


def _until_decided(config: RolloutConfig, reference: Run) -> RunPlan:
    if errors := sum(result.status == "error" for result in reference.results):
        raise PlanError(
            f"{errors} episodes of {reference.folder} could not be run, and nothing may hinge on them; run them again "
            "with --resume, or compare whole runs with eval.compare"
        )
    available, asked = plan_seeds(reference.seeds), _specs(config, len(reference.results))
    specs = available[: len(asked)]
    own_seeds = config.seed is not None or config.seeds is not None
    if len(asked) > len(available) or (own_seeds and asked != specs):
        raise PlanError(
            f"expected the episodes of {reference.folder}, {plan_text(available)}, or the first of them; "
            f"got {plan_text(asked)}; leave out --episodes, --seed and --seeds"
        )
    return RunPlan(specs, UntilDecided(reference.successes), reference)


def _detecting(config: RolloutConfig, difference: float, reference: Run | None) -> RunPlan:
    if reference is None:
        rates, around = [(0.5 - difference / 2, 0.5 + difference / 2)], "whatever their rates, in the hardest case"
    else:
        rate = sum(reference.successes.values()) / len(reference.results)
        rates = [(rate, other) for other in (rate - difference, rate + difference) if 0 <= other <= 1]
        around = f"that succeeds like {reference.folder}, {points_text(rate)} %"
    n = _pairs_for_all(difference, rates)
    specs = plan_episodes(n, config.seed or 0)
    seen = f"{n} episodes see a difference of {points_text(difference)} pp with 80 % power"
    reason = f"{seen}, paired with an independent policy {around}"
    return RunPlan(specs, reference=reference, reason=reason + _missing_text(specs, reference))


def _pairs_for_all(difference: float, rates: Sequence[tuple[float, float]]) -> int:
    """Return how many pairs see `difference` between the policies of each pair of `rates`."""
    if not rates:
        raise PlanError(f"no rate differs by {points_text(difference)} pp from that of --vs; give a smaller --detect")
    needed = [pairs_needed(difference, independent_discordance(*pair)) for pair in rates]
    enough = [n for n in needed if n is not None]
    if len(enough) < len(needed):
        raise PlanError(
            f"{MOST_PAIRS} episodes do not suffice to see a difference of {points_text(difference)} pp; "
            "give a larger --detect"
        )
    return max(enough)


def _missing_text(specs: Sequence[EpisodeSpec], reference: Run | None) -> str:
    seeds = {spec.seed for spec in specs}
    if reference is None or seeds == set(reference.seeds):
        return ""
    has = len(seeds.intersection(reference.seeds))
    return f"; {reference.folder} has {has} of them, so run that policy on the same seeds, too, before comparing"
