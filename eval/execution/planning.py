"""Turns a user's request into the plan of a run: its seeds, its largest number of episodes, its stopping rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from eval.episodes.battery import Arm, Battery
from eval.episodes.plan import MOST_EPISODES as MOST_PLANNED
from eval.episodes.plan import WHOLE, EpisodeSpec, PlanError, Shard, over_tasks, plan_episodes, plan_seeds, plan_text
from eval.observers.stopping import MOST_EPISODES, StoppingRule, UntilDecided, UntilWidth
from eval.runs.run import Run
from eval.statistics.percentage import points_text
from eval.statistics.power import MOST_PAIRS, independent_discordance, pairs_needed

DEFAULT_EPISODES = 50


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """Settings that decide which episodes run; see the flags of `eval.rollout`."""

    episodes: int | None = None
    seed: int | None = None
    seeds: tuple[int, ...] | None = None
    detect: float | None = None
    until_width: float | None = None
    until_decided: bool = False
    shard: str | None = None


@dataclass(frozen=True)
class RunPlan:
    """The episodes of a run, its stopping rule, and which part of it this invocation runs."""

    specs: tuple[EpisodeSpec, ...]
    """Episodes of the whole run; with a rule, as many as it may run at most."""
    rule: StoppingRule | None = None
    """Rule that may end the run early; None if all episodes run."""
    reference: Run | None = None
    """The run of --vs; None without --vs."""
    reason: str = ""
    """Why --detect leads to this number of episodes, in words; "" without --detect."""
    battery: Battery | None = None
    """Perturbations that the run tests; None for a plain run."""
    shard: Shard | None = None
    """Part of the run that is run, see `part`; None if the run is not divided."""

    @cached_property
    def part(self) -> tuple[EpisodeSpec, ...]:
        """The episodes that are run: those of the shard, or all."""
        return (self.shard or WHOLE).part_of(self.specs)

    @property
    def text(self) -> str:
        """The plan in a few words."""
        if self.shard is not None:
            return f"shard {self.shard} of {plan_text(self.specs)}: {plan_text(self.part)}"
        if self.rule is None:
            return plan_text(self.specs)
        against = f" against {self.reference.folder}" if self.reference else ""
        return f"at most {plan_text(self.specs)}, {self.rule.text()}{against}"


def plan_run(request: PlanRequest, reference: Run | None = None, tasks: Sequence[str] = ()) -> RunPlan:
    """Return the plan for `request`.

    Args:
        request: What the user wants.
        reference: The run of --vs; None without --vs.
        tasks: Ids of the tasks of a suite, which take turns with the same seeds; empty for a single task.

    Raises:
        PlanError: If settings contradict each other, the reference or the tasks, or if they need too many episodes.
    """
    if tasks and (request.until_width is not None or request.until_decided):
        raise PlanError(
            "expected one task with --until-width or --until-decided, got a suite: their guarantee holds for one "
            "success probability, and a run that stops early would weigh its tasks unequally; run each task alone"
        )
    plan = _plan_of_one_task(request, reference)
    plan = replace(plan, specs=over_tasks(plan.specs, tasks))
    return divided(plan, request.shard)


def divided(plan: RunPlan, shard: str | None) -> RunPlan:
    """Return `plan`, of which only the part `shard` is run, for example 3/16; with None all of it.

    The shards of a battery have all arms of their starts, so that each of them is a battery, too.

    Raises:
        PlanError: If `shard` is none, there are more shards than starts, or a rule may end the run early.
    """
    if shard is None:
        return plan
    if plan.rule is not None:
        raise PlanError(
            "expected --shard without --until-width and --until-decided: they stop after the first episodes of the "
            "plan that suffice, and no shard sees the episodes of the others; give --episodes or --detect"
        )
    block = 1 if plan.battery is None else 1 + len(plan.battery.arms)
    part = replace(Shard.parse(shard), block=block)
    most, name = len(plan.specs) // block, "episodes" if plan.battery is None else "starts"
    if part.of > most:
        raise PlanError(f"expected at most as many shards as the {most} {name}, got --shard {part}")
    return replace(plan, shard=part)


def _plan_of_one_task(request: PlanRequest, reference: Run | None) -> RunPlan:
    if reference is not None and not reference.is_complete:
        n, planned = len(reference.results), reference.planned
        raise PlanError(f"expected a complete run with --vs, {reference.folder} has {n} of {planned} episodes")
    if request.until_width is not None:
        return _until_width(request, request.until_width)
    if reference is not None and request.until_decided:
        return _until_decided(request, reference)
    if request.detect is not None:
        return _detecting(request, request.detect, reference)
    return RunPlan(_specs(request, DEFAULT_EPISODES))


def plan_battery(battery: Battery, seeds: Sequence[int]) -> tuple[EpisodeSpec, ...]:
    """Plan the episodes of a battery: for each start, first the control and then every arm.

    So the episodes that run at the same time differ in their perturbations, and an interrupted battery has all arms of
    its first starts.

    Args:
        battery: The arms.
        seeds: Seed of each start.

    Raises:
        PlanError: If a seed occurs twice or is out of range, or there are too many episodes.
    """
    starts, arms = plan_seeds(seeds), (None, *battery.arms)
    if len(starts) * len(arms) > MOST_PLANNED:
        raise PlanError(f"expected at most {MOST_PLANNED} episodes, got {len(starts)} starts in {len(arms)} arms")
    cells = ((start, arm) for start in starts for arm in arms)
    return tuple(_in_arm(index, start.seed, arm) for index, (start, arm) in enumerate(cells))


def _in_arm(index: int, seed: int, arm: Arm | None) -> EpisodeSpec:
    if arm is None:
        return EpisodeSpec(index, seed)
    return EpisodeSpec(index, seed, arm=arm.name, perturbation=arm.perturbation)


def _specs(request: PlanRequest, episodes_by_default: int) -> tuple[EpisodeSpec, ...]:
    if request.seeds is not None:
        return plan_seeds(request.seeds)
    return plan_episodes(episodes_by_default if request.episodes is None else request.episodes, request.seed or 0)


def _until_width(request: PlanRequest, width: float) -> RunPlan:
    rule = UntilWidth(width)
    if rule.most_episodes is None and request.episodes is None and request.seeds is None:
        raise PlanError(
            f"{MOST_EPISODES} episodes may not suffice for a width of {points_text(width)} pp; give the largest number "
            "of episodes with --episodes, or a larger --until-width"
        )
    return RunPlan(_specs(request, rule.most_episodes or MOST_EPISODES), rule)


def _until_decided(request: PlanRequest, reference: Run) -> RunPlan:
    if errors := sum(result.status == "error" for result in reference.results):
        raise PlanError(
            f"{errors} episodes of {reference.folder} are errors, and no decision may depend on them; run them again "
            "with --resume, or compare whole runs with eval.compare"
        )
    available, asked = plan_seeds(reference.seeds), _specs(request, len(reference.results))
    specs = available[: len(asked)]
    own_seeds = request.seed is not None or request.seeds is not None
    if len(asked) > len(available) or (own_seeds and asked != specs):
        raise PlanError(
            f"expected the episodes of {reference.folder}, {plan_text(available)}, or the first of them; "
            f"got {plan_text(asked)}; leave out --episodes, --seed and --seeds"
        )
    return RunPlan(specs, UntilDecided(reference.success_by_seed), reference)


def _detecting(request: PlanRequest, difference: float, reference: Run | None) -> RunPlan:
    if reference is None:
        rates = [(0.5 - difference / 2, 0.5 + difference / 2)]
        around = "in the hardest case (success rates around 50 %)"
    else:
        rate = reference.successes / len(reference.results)
        rates = [(rate, other) for other in (rate - difference, rate + difference) if 0 <= other <= 1]
        around = f"that succeeds like {reference.folder}, {points_text(rate)} %"
    n = _pairs_for_all(difference, rates)
    specs = plan_episodes(n, request.seed or 0)
    seen = f"{n} episodes detect a difference of {points_text(difference)} pp with 80 % power"
    reason = f"{seen}, paired with an independent policy {around}"
    return RunPlan(specs, reference=reference, reason=reason + _missing_text(specs, reference))


def _pairs_for_all(difference: float, rates: Sequence[tuple[float, float]]) -> int:
    """Return how many pairs detect `difference` between the policies of each pair of `rates`."""
    if not rates:
        raise PlanError(f"no rate differs by {points_text(difference)} pp from that of --vs; give a smaller --detect")
    needed = [pairs_needed(difference, independent_discordance(*pair)) for pair in rates]
    enough = [n for n in needed if n is not None]
    if len(enough) < len(needed):
        raise PlanError(
            f"{MOST_PAIRS} episodes do not suffice to detect a difference of {points_text(difference)} pp; "
            "give a larger --detect"
        )
    return max(enough)


def _missing_text(specs: Sequence[EpisodeSpec], reference: Run | None) -> str:
    seeds = {spec.seed for spec in specs}
    if reference is None or seeds == set(reference.seeds):
        return ""
    has = len(seeds.intersection(reference.seeds))
    return f"; {reference.folder} has {has} of these seeds, so run that policy on the same seeds before you compare"
