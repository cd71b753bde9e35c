"""Scores a frozen checkpoint on the published seeds, once, and writes the result into a ledger kept in git.

    python -m benchmarks.publish --checkpoint assets/checkpoints/bc-reach --env reach

Each checkpoint (by the digest of its configuration and weights) is scored once per environment; asking again shows the
line in the ledger. Choose between checkpoints on validation seeds, never here.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eval.assembly import build_environment, build_policy, environment_id
from eval.loop import rollout
from eval.plan import PUBLISHED_SEEDS, plan_seeds
from eval.provenance import checkpoint_digest, fingerprint, gl_renderer, source_state
from eval.seed_overlap import seed_overlap
from eval.summary import summarise
from simscaleai.errors import SimScaleError

_PLACE = Path("benchmarks/results/published.jsonl")
LEDGER = Path(__file__).resolve().parent.parent / _PLACE
SLOTS = 32


def read_ledger() -> list[dict[str, Any]]:
    """Return the lines of the ledger, oldest first."""
    return [json.loads(line) for line in LEDGER.read_text().splitlines()] if LEDGER.exists() else []


def score(checkpoint: Path, env_id: str) -> dict[str, Any]:
    """Run the published episodes and return the ledger's line; nothing is run if there is one already.

    Raises:
        SimScaleError: If there is nothing to publish: no checkpoint, one that was trained on the published seeds, or
            episodes that could not be run.
    """
    policy, plan = build_policy(str(checkpoint), None, env_id), plan_seeds(PUBLISHED_SEEDS)
    digest = checkpoint_digest(policy)
    if digest is None:
        raise SimScaleError(f"expected the folder of a checkpoint, {checkpoint} has no weights to freeze")
    if overlap := seed_overlap(policy, plan):
        raise SimScaleError(f"nothing is published of {checkpoint}: {overlap.text()}")
    for line in read_ledger():
        if (line["checkpoint_digest"], line["environment"]) == (digest, env_id):
            print("already in the ledger; a second look would be a choice", file=sys.stderr)
            return line
    env = build_environment(policy.contract, env_id, SLOTS)
    summary = summarise(rollout(env, policy, plan), len(plan))
    if summary.errors:
        raise SimScaleError(
            f"{summary.errors} episodes could not be run; nothing is published, mend this and run again"
        )
    line = {
        "date": datetime.now(UTC).date().isoformat(),
        "checkpoint": checkpoint.name,
        "checkpoint_digest": digest,
        "environment": env_id,
        "scene": env.contract.environments[env_id],
        "summary": summary.to_json(),
        "source": source_state(besides=_PLACE),
        "fingerprint": fingerprint(gl_renderer(env)),
    }
    with LEDGER.open("a") as file:
        file.write(json.dumps(line) + "\n")
    return line


def main() -> int:
    """Score the checkpoint of the command line and print its line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--env", required=True)
    arguments = parser.parse_args()
    try:
        line = score(arguments.checkpoint, environment_id(arguments.env))
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
