"""The folder of a run: where a new run may write, and whether a run may be resumed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from eval.episodes.plan import EpisodeSpec
from eval.episodes.results import EpisodeResult, ResultsError
from eval.runs.episode_lines import EPISODES_FILE, read_results
from eval.runs.record import RECORD_FILE, RunRecord
from simscaleai.files import check_new_folder, remove_partial_files
from simscaleai.json_data import json_differences

MAY_DIFFER = ("checkpoint", "json", "num_envs", "output", "quiet", "resume", "timeout", "vs", "workers")
"""Entries of the configuration that may change when a run is resumed, because they do not change what is measured.
Weights and the run of --vs are compared by their digests instead."""

_IN_VERSION_1 = ("env_id", "digest", "max_episode_steps")  # of the environment


def check_output(folder: Path, *, resume: bool) -> None:
    """Check that `folder` can take a run, before any time is spent on the run.

    What a process that was killed while it wrote its first record has left is removed.

    Args:
        folder: Where the run shall write.
        resume: Whether the run in `folder` shall be continued, if it holds one.

    Raises:
        ResultsError: If the folder holds a run that shall not be resumed, or a damaged one, or is not writable.
        SimScaleError: If it is a file, or holds something else.
        OSError: If it cannot be created.
    """
    if _holds_run(folder):
        if not resume:
            raise ResultsError(f"{folder} already holds a run; add --resume to continue it or choose another --output")
        RunRecord.read(folder)
    else:
        if folder.is_dir():
            remove_partial_files(folder)
        check_new_folder(folder)
    if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
        raise ResultsError(f"expected a folder to write to, {folder} is not writable; choose another --output")


def next_free_folder(name: str) -> Path:
    """Create and return the next free folder `runs/<name>-<number>`, for a run without --output."""
    for number in count(1):
        folder = Path("runs") / f"{name}-{number:03d}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError("unreachable: the numbers do not end")


def earlier_record(folder: Path) -> RunRecord | None:
    """Return the record of the run in `folder`; None if the run was killed before it wrote one.

    Raises:
        ResultsError: If the record is damaged.
    """
    return RunRecord.read(folder) if _holds_run(folder) else None


def earlier_results(folder: Path, plan: Sequence[EpisodeSpec]) -> list[EpisodeResult]:
    """Return the episodes in `folder` that need not run again: the finished ones, without those that are `error`.

    Raises:
        ResultsError: If the folder holds an episode that `plan` does not have, or a damaged line.
    """
    results = read_results(folder / EPISODES_FILE)
    seeds = {spec.episode_index: spec.seed for spec in plan}
    for result in results:
        if seeds.get(result.episode_index) != result.seed:
            raise ResultsError(
                f"{folder / EPISODES_FILE} holds episode {result.episode_index} with seed {result.seed}, which is not "
                "in the plan; choose another --output"
            )
    return [result for result in results if result.status != "error"]


def check_same_run(folder: Path, before: RunRecord, now: RunRecord) -> None:
    """Check that the run in `folder` continues under the conditions that it began with.

    Compares the policies, the environment, the configuration without `MAY_DIFFER`, the number of episodes, the
    reference of --vs, and the fingerprint. Of a record of schema version 1, only what that version recorded.

    Raises:
        ResultsError: Naming each difference with both sides.
    """
    then, present = _conditions(before), _conditions(now)
    if before.schema_version == 1:
        present = _limited_to_version_1(present, then)
        then = _limited_to_version_1(then, then)
    check_same_conditions(folder, then, present)


def check_same_conditions(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Check that what is in `folder` continues under the same conditions; both are plain JSON data.

    Raises:
        ResultsError: Naming each difference with both sides.
    """
    differing = json_differences(before, now)
    if differing:
        listing = "\n".join(f"  {line}" for line in differing)
        raise ResultsError(
            f"cannot resume {folder}, it began under other conditions; choose another --output\n{listing}"
        )


def _conditions(record: RunRecord) -> dict[str, Any]:
    """Return what must not change within a run, as plain JSON data."""
    data = record.to_json()
    reference = (data["sequential"] or {}).get("vs") or {}
    return {
        "config": {name: value for name, value in data["config"].items() if name not in MAY_DIFFER},
        "episodes": data["resolved"]["episodes"],
        "vs": reference.get("episodes_sha256"),
        "fingerprint": data["fingerprint"],
        "environment": data["environment"],
        "policies": {
            str(place): {name: value for name, value in policy.items() if name != "checkpoint"}
            for place, policy in enumerate(data["policies"])
        },
    }


def _limited_to_version_1(conditions: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `conditions` that are known of a run of schema version 1, with the conditions `before`."""
    policy, config = before["policies"]["0"], before["config"]
    names = ("model", "identity") if policy["identity"] else ("model",)  # then, only checkpoints had an identity
    return {
        **conditions,
        "config": {name: value for name, value in conditions["config"].items() if name in config},
        "environment": {name: conditions["environment"][name] for name in _IN_VERSION_1},
        "policies": {"0": {name: conditions["policies"]["0"][name] for name in names}},
    }


def _holds_run(folder: Path) -> bool:
    return (folder / RECORD_FILE).exists()
