"""Evaluates a checkpoint once on the published seeds and adds the result to benchmarks/results/published.jsonl.

    python -m benchmarks.success.publish --checkpoint assets/checkpoints/bc-reach --env reach

This file is the ledger of published results, and git tracks it. Each checkpoint, identified by the digest of its
configuration and weights, is evaluated once per environment. A second call shows the line in the ledger. Choose between
checkpoints on validation seeds, never on the published seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from envs.registration import Registration, find_environment
from eval.episodes.loop import rollout
from eval.episodes.plan import PUBLISHED_SEEDS, EpisodeSpec, plan_seeds
from eval.execution.assembly import build_environment, build_policy, closing
from eval.runs.provenance import fingerprint, source_state
from eval.runs.seed_overlap import seed_overlap
from eval.runs.summary import summarise
from eval.terminal.figures import overlap_text
from policies.base import Policy
from policies.learned.adapter import PolicyAdapter
from simscaleai.errors import SimScaleError

_PLACE = Path("benchmarks/results/published.jsonl")
LEDGER = Path(__file__).resolve().parents[2] / _PLACE
SLOTS = 32


def read_ledger() -> list[dict[str, Any]]:
    """Return the lines of the ledger, oldest first."""
    return [json.loads(line) for line in LEDGER.read_text(encoding="utf-8").splitlines()] if LEDGER.exists() else []


def score(checkpoint: Path, environment: str) -> dict[str, Any]:
    """Run the published episodes, and add the result to the ledger as a line; return this line.

    If the ledger already has a line for this checkpoint and environment, nothing is run.

    Args:
        checkpoint: Folder of the checkpoint, or a shipped checkpoint's name.
        environment: Name or id of the environment.

    Raises:
        SimScaleError: If there is no checkpoint, the checkpoint was trained on published seeds, or an episode could not
            be run.
    """
    registration, plan = find_environment(environment), plan_seeds(PUBLISHED_SEEDS)
    policy = build_policy(str(checkpoint), None, registration.offer())
    digest = _frozen_digest(checkpoint, policy, plan)
    for line in read_ledger():
        if (line["checkpoint_digest"], line["environment"]) == (digest, registration.env_id):
            print("already in the ledger; each checkpoint is evaluated only once", file=sys.stderr)
            return line
    today = datetime.now(UTC).date().isoformat()
    line = {"date": today, "checkpoint": checkpoint.name, "checkpoint_digest": digest}
    line |= _measured(registration, policy, plan)
    with LEDGER.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return line


def _frozen_digest(checkpoint: Path, policy: Policy, plan: Sequence[EpisodeSpec]) -> str:
    """Return the digest of the checkpoint behind `policy`.

    Raises:
        SimScaleError: If the policy has no checkpoint, or its checkpoint was trained on seeds of `plan`.
    """
    if not isinstance(policy, PolicyAdapter):
        raise SimScaleError(f"expected the folder of a checkpoint, {checkpoint} has no weights to freeze")
    if overlap := seed_overlap(policy.checkpoint.training, plan):
        raise SimScaleError(f"nothing is published of {checkpoint}: {overlap_text(overlap, len(plan))}")
    return policy.checkpoint.digest


def _measured(registration: Registration, policy: Policy, plan: Sequence[EpisodeSpec]) -> dict[str, Any]:
    """Run the episodes; return the results, and the code and machine that they depend on.

    Raises:
        SimScaleError: If an episode could not be run.
    """
    with closing(build_environment(registration, [policy.needs], SLOTS)) as env:
        summary = summarise(rollout(env, policy, plan), len(plan))
        machine = fingerprint(env.fingerprint())
    if summary.errors:
        raise SimScaleError(
            f"{summary.errors} episodes could not be run, so nothing is published; correct the cause and run again"
        )
    source = source_state(besides=_PLACE)
    return {
        "environment": registration.env_id,
        "scene": env.spec.digest,
        "summary": summary.to_json(),
        "source": source and asdict(source),
        "fingerprint": machine,
    }


def main() -> int:
    """Evaluate the checkpoint of the command line and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--env", required=True)
    arguments = parser.parse_args()
    try:
        line = score(arguments.checkpoint, arguments.env)
    except SimScaleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    summary = line["summary"]
    low, high = summary["wilson_95"]
    found = f"{summary['successes']}/{summary['episodes']} [{low:.4f}, {high:.4f}]"
    print(f"{line['checkpoint']} in {line['environment']}: {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
