"""Measures the rate of perturbed episodes as a share of the rate of nominal ones, for each axis of a battery.

    python -m benchmarks.speed.battery_rates                     # both policies, all axes: results/battery_rates.csv
    python -m benchmarks.speed.battery_rates --policies bc-pick-place --axes distractors all --rounds 2   # only prints

A rate is control steps per second of CPU time of this process, on one thread. So other load matters little, and a
policy that needs more steps in a perturbed scene does not count as slow. Each round measures nominal and perturbed
episodes one right after the other, in changing order. The row "all" has all axes in one batch, as a battery has them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.interleaved import median_interval
from benchmarks.tables import RESULTS, write_csv
from envs.registration import Registration, find_environment
from envs.slots import SlotEnv
from eval.episodes.battery import Battery
from eval.episodes.loop import rollout
from eval.episodes.plan import EpisodeSpec
from eval.execution.assembly import build_policy, closing
from eval.execution.battery import whole_axes
from eval.execution.planning import plan_battery
from eval.probing.probe_axes import perturbation_probes, reason_without_effect
from policies.base import Policy
from simscaleai.contract import union_of_needs
from simscaleai.perturbation import Axis

TABLE = RESULTS / "battery_rates.csv"
POLICIES = {"bc-pick-place": 96, "vla-robust": 16}
"""A policy that gets simulator truth, and one that looks at two cameras, to the number of episodes in a round."""

ALL = "all"
_ENV, _LEVEL, _FIRST_SEED = "pick-place", 3, 3_000_300_000
_SLOTS = 32
_STEPS = 40  # most control steps of an episode: a success takes about 30, and no slot runs on alone


@dataclass(frozen=True)
class Pace:
    """Measures the rates of the episodes of one policy."""

    policy: Policy
    registration: Registration
    episodes: int

    def axes(self) -> dict[str, tuple[Axis, ...]]:
        """Return the axes of each row: each axis that changes something for the policy alone, then all together."""
        spec = self.registration.offer()
        axes = [axis for axis in whole_axes(spec) if not reason_without_effect(axis, self.policy.needs, spec)]
        return {axis.name: (axis,) for axis in axes} | {ALL: tuple(axes)}

    def ratios(self, axes: tuple[Axis, ...], rounds: int) -> list[float]:
        """Return the rate of episodes that are perturbed along one of `axes` divided by the nominal rate, by round."""
        seeds = range(_FIRST_SEED, _FIRST_SEED + self.episodes)
        nominal = plan_battery(Battery(), seeds)
        arms = plan_battery(Battery(axes=axes, levels=(_LEVEL,)), seeds[: -(-self.episodes // len(axes))])
        with closing(self._environment()) as plain, closing(self._environment()) as changed:
            work = [(plain, nominal), (changed, [spec for spec in arms if spec.arm])]
            for each in work:
                self._rate(*each)  # also makes what an environment makes once
            return [self._ratio(work, backwards=bool(number % 2)) for number in range(rounds)]

    def _environment(self) -> SlotEnv:
        return self.registration.make(_SLOTS, union_of_needs([self.policy.needs]), True, _STEPS)

    def _ratio(self, work: Sequence[tuple[SlotEnv, Sequence[EpisodeSpec]]], *, backwards: bool) -> float:
        order = (1, 0) if backwards else (0, 1)
        rates = {number: self._rate(*work[number]) for number in order}
        return rates[1] / rates[0]

    def _rate(self, env: SlotEnv, plan: Sequence[EpisodeSpec]) -> float:
        """Return control steps per second of CPU time."""
        probes = perturbation_probes(self.policy.needs, env.spec)
        start = time.process_time()
        results = rollout(env, self.policy, plan, probes=probes)
        return sum(result.steps for result in results) / (time.process_time() - start)


def rows(model: str, names: Sequence[str], rounds: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each axis in `names` that changes something for the policy `model`; for all without names."""
    registration = find_environment(_ENV)
    pace = Pace(build_policy(model, None, registration.offer()), registration, POLICIES[model])
    for name, axes in pace.axes().items():
        if name in names or not names:
            ratios = pace.ratios(axes, rounds)
            low, high = median_interval(ratios) or ("", "")
            yield {
                "policy": model,
                "axis": name,
                "level": _LEVEL,
                "rate": round(statistics.median(ratios), 3),
                "low": low and round(low, 3),
                "high": high and round(high, 3),
                "rounds": rounds,
            }


def main() -> int:
    """Measure and print the rows; write the table if it is whole. Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=list(POLICIES), help="by default both")
    parser.add_argument("--axes", nargs="+", default=[], help=f"by default all; {ALL} for all in one batch")
    parser.add_argument("--rounds", type=int, default=6, help="pairs of measurements of each axis")
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "LP_NUM_THREADS": "1"}  # read later, by torch, the simulation and llvmpipe
    found = []
    for model in options.policies:
        for row in rows(model, options.axes, options.rounds):
            found.append(row)
            print(*row.values(), flush=True)
    if options.axes or len(options.policies) < len(POLICIES):
        return 0
    write_csv(TABLE, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
