"""Release check: LeRobot's own aggregation of a run's episodes gives the figures of `eval.report --format lerobot`.

Runs under the interpreter of lerobot, from the root of a checkout::

    python -m eval.report RUN --format lerobot --output eval_info.json
    lerobot-venv/bin/python -m benchmarks.exchange.lerobot_eval_info eval_info.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
from lerobot.scripts import lerobot_eval

from benchmarks.tables import RESULTS, write_csv

EXPLAINED = {"eval_s", "eval_ep_s"}  # their own clock


def their_figures(tasks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what `eval_policy_all` of lerobot makes of the metrics of `tasks`, as if it had run them."""
    metrics = {(task["task_group"], task["task_id"]): task["metrics"] for task in tasks}
    envs: dict[str, dict[int, Any]] = {}
    for group, number in metrics:
        envs.setdefault(group, {})[number] = MagicMock()

    def run_one(group: str, number: int, env: object, **_: object) -> tuple[str, int, dict[str, Any]]:
        return group, number, metrics[group, number]

    with patch.object(lerobot_eval, "run_one", run_one):
        return dict(lerobot_eval.eval_policy_all(envs, MagicMock(), *[None] * 4, n_episodes=1))


def rows(ours: dict[str, Any], theirs: dict[str, Any]) -> list[tuple[str, object, object, bool]]:
    """Return name, our value, their value and whether they are equal, for each figure that lerobot writes."""
    blocks = [("overall", ours["overall"], theirs["overall"])]
    blocks += [(name, ours["per_group"][name], found) for name, found in theirs["per_group"].items()]
    found = []
    for block, mine, its in blocks:
        for name in sorted(its.keys() - EXPLAINED):
            found.append((f"{block} {name}", mine[name], its[name], is_equal(mine[name], its[name])))
    return [
        *found,
        ("per_task", len(ours["per_task"]), len(theirs["per_task"]), ours["per_task"] == theirs["per_task"]),
    ]


def is_equal(ours: object, theirs: object) -> bool:
    """Return whether two figures are equal; lerobot's NaN is our null."""
    if isinstance(theirs, float):
        return bool(np.isnan(theirs)) if ours is None else bool(np.isclose(float(str(ours)), theirs, rtol=1e-12))
    return ours == theirs


def main() -> int:
    """Compare, write a table, and return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path, help="eval_info.json that eval.report has written")
    ours = json.loads(parser.parse_args().file.read_text())
    compared = rows(ours, their_figures(ours["per_task"]))
    header = ("figure", "ours", "lerobot", "equal")
    write_csv(RESULTS / "lerobot_eval_info.csv", [dict(zip(header, row, strict=True)) for row in compared])
    for name, mine, its, equal in compared:
        print(f"{'equal' if equal else 'DIFFERENT'}: {name}: {mine} and {its}")
    return int(not all(equal for *_, equal in compared))


if __name__ == "__main__":
    raise SystemExit(main())
