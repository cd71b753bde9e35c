"""Measures the success rates of the policies without weights, as a certificate of the environments.

    python -m benchmarks.certify --seeds development
    python -m benchmarks.certify --seeds published     # rows of an unchanged scene are kept, not measured again

Writes benchmarks/results/certificate_<seeds>.csv: one row for each policy and environment, with the scene's digest.
Experts must succeed. The other policies must not.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

from envs import environment_names, find_environment
from eval.episodes.loop import rollout
from eval.episodes.plan import PUBLISHED_SEEDS, plan_seeds
from eval.execution.assembly import build_environment, build_policy, closing
from eval.runs.summary import summarise

SEEDS = {"development": range(3_000_000_000, 3_000_001_000), "published": PUBLISHED_SEEDS}
POLICIES = ("scripted", "pusher", "random", "zero")
SLOTS = 32
Row = list[Any]

HEADER = (
    "environment",
    "scene",
    "policy",
    "first seed",
    "episodes",
    "successes",
    "low 95 %",
    "high 95 %",
    "mean steps",
    "failures",
)


def certificate_row(name: str, policy_name: str, seeds: range) -> Row:
    """Run one policy in one environment on `seeds` and return its row."""
    registration = find_environment(name)
    spec = registration.offer()
    policy = build_policy(policy_name, None, spec)
    with closing(build_environment(registration, [policy.needs], SLOTS)) as env:
        summary = summarise(rollout(env, policy, plan_seeds(seeds)), len(seeds))
    failures = " ".join(f"{name}:{count}" for name, count in summary.failures.items())
    return [
        spec.env_id,
        spec.digest,
        policy_name,
        seeds[0],
        len(seeds),
        summary.successes,
        round(summary.interval.low, 4),
        round(summary.interval.high, 4),
        round(summary.mean_steps, 1),
        failures,
    ]


def main() -> None:
    """Run the chosen environments and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", choices=SEEDS, default="development")
    environments = environment_names()
    parser.add_argument(
        "--envs",
        nargs="+",
        choices=environments,
        default=list(environments),
        help="environments to run; the other rows are kept",
    )
    arguments = parser.parse_args()
    path = Path(__file__).parent / "results" / f"certificate_{arguments.seeds}.csv"
    scenes = {environments[name]: find_environment(name).offer().digest for name in arguments.envs}
    is_once = arguments.seeds == "published"
    rows: list[Row] = [
        row for row in _read_rows(path) if row[0] not in scenes or (is_once and row[1] == scenes[row[0]])
    ]
    measured = {(row[0], row[2]) for row in rows}
    for name in arguments.envs:
        for policy in POLICIES:
            if (name == "reach" and policy == "pusher") or (environments[name], policy) in measured:
                continue
            rows.append(certificate_row(name, policy, SEEDS[arguments.seeds]))
            print(*rows[-1], sep=" | ", flush=True)
    rows.sort(key=lambda row: list(environments.values()).index(str(row[0])))
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *rows])


def _read_rows(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


if __name__ == "__main__":
    main()
