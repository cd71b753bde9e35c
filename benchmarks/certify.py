"""The freeze gate's certificate: what scripted policies reach in each environment, on which scenes.

    python -m benchmarks.certify --seeds development
    python -m benchmarks.certify --seeds published     # once for each environment version

Writes benchmarks/results/certificate_<seeds>.csv: one row for each policy and environment, with the scene's digest.
Experts must reach the bar; policies without skill must not pass.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

from envs import ENVIRONMENTS
from eval.assembly import build_environment, build_policy
from eval.loop import rollout
from eval.plan import PUBLISHED_SEEDS, plan_seeds
from eval.summary import summarise

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
    env_id = ENVIRONMENTS[name]
    policy = build_policy(policy_name, None, env_id)
    env = build_environment(policy.contract, env_id, SLOTS)
    summary = summarise(rollout(env, policy, plan_seeds(seeds)), len(seeds))
    low, high = (round(end, 4) for end in summary.wilson_95)
    failures = " ".join(f"{name}:{count}" for name, count in summary.failures.items())
    digest = env.contract.environments[env_id]
    return [
        env_id,
        digest,
        policy_name,
        seeds[0],
        len(seeds),
        summary.successes,
        low,
        high,
        round(summary.mean_steps, 1),
        failures,
    ]


def main() -> None:
    """Certify every environment and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", choices=SEEDS, default="development")
    parser.add_argument("--envs", nargs="+", choices=ENVIRONMENTS, default=list(ENVIRONMENTS), help="only these anew")
    arguments = parser.parse_args()
    which, path = arguments.seeds, Path(__file__).parent / "results" / f"certificate_{arguments.seeds}.csv"
    anew = {ENVIRONMENTS[name] for name in arguments.envs}
    rows: list[Row] = [row for row in _read_rows(path) if row[0] not in anew]
    for name in arguments.envs:
        for policy in POLICIES:
            if name == "reach" and policy == "pusher":
                continue
            rows.append(certificate_row(name, policy, SEEDS[which]))
            print(*rows[-1], sep=" | ", flush=True)
    rows.sort(key=lambda row: list(ENVIRONMENTS.values()).index(str(row[0])))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])


def _read_rows(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.reader(file))[1:]


if __name__ == "__main__":
    main()
