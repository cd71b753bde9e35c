"""Measures the success rates of the policies without weights, as a certificate of the environments.

    python -m benchmarks.success.certify --seeds development
    python -m benchmarks.success.certify --seeds published     # rows of an unchanged scene are kept, not measured again

Writes benchmarks/results/certificate_<seeds>.csv: one row for each policy and environment, with the scene's digest.
Experts must succeed. The other policies must not.
"""

from __future__ import annotations

import argparse

from benchmarks.tables import RESULTS, read_csv, write_csv
from envs import environment_names, find_environment
from eval.episodes.loop import rollout
from eval.episodes.plan import PUBLISHED_SEEDS, plan_seeds
from eval.execution.assembly import build_environment, build_policy, closing
from eval.runs.summary import summarise
from policies.scripted.experts import PUSHERS

SEEDS = {"development": range(3_000_000_000, 3_000_001_000), "published": PUBLISHED_SEEDS}
POLICIES = ("scripted", "pusher", "random", "zero")
SLOTS = 32
Row = dict[str, object]


def certificate_row(name: str, policy_name: str, seeds: range) -> Row:
    """Run one policy in one environment on `seeds` and return its row."""
    registration = find_environment(name)
    spec = registration.offer()
    policy = build_policy(policy_name, None, spec)
    with closing(build_environment(registration, [policy.needs], SLOTS)) as env:
        summary = summarise(rollout(env, policy, plan_seeds(seeds)), len(seeds))
    return {
        "environment": spec.env_id,
        "scene": spec.digest,
        "policy": policy_name,
        "first seed": seeds[0],
        "episodes": len(seeds),
        "successes": summary.successes,
        "low 95 %": round(summary.interval.low, 4),
        "high 95 %": round(summary.interval.high, 4),
        "mean steps": round(summary.mean_steps, 1),
        "failures": " ".join(f"{name}:{count}" for name, count in summary.failures.items()),
    }


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
    path = RESULTS / f"certificate_{arguments.seeds}.csv"
    scenes = {environments[name]: find_environment(name).offer().digest for name in arguments.envs}
    is_once = arguments.seeds == "published"
    rows: list[Row] = [
        dict(row)
        for row in (read_csv(path) if path.exists() else [])
        if row["environment"] not in scenes or (is_once and row["scene"] == scenes[row["environment"]])
    ]
    measured = {(row["environment"], row["policy"]) for row in rows}
    for name in arguments.envs:
        for policy in POLICIES:
            if (policy == "pusher" and environments[name] not in PUSHERS) or (environments[name], policy) in measured:
                continue
            rows.append(certificate_row(name, policy, SEEDS[arguments.seeds]))
            print(*rows[-1].values(), sep=" | ", flush=True)
    rows.sort(key=lambda row: list(environments.values()).index(str(row["environment"])))
    write_csv(path, rows)


if __name__ == "__main__":
    main()
