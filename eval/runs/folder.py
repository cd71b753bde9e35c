"""The folder of a run: where a new run may write, and whether a run may be resumed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import count
from pathlib import Path
from typing import Any

from eval.episodes.plan import EpisodeSpec
from eval.episodes.results import EpisodeResult, ResultsError
from eval.runs.log_file import EPISODES_FILE, read_results
from eval.runs.record import RunRecord
from eval.runs.versions import RECORD_FILE
from simscaleai.files import check_new_folder, first_free_folder, locked, output_folder, remove_partial_files
from simscaleai.json_data import json_differences

MAY_DIFFER = (
    "accept_inexact",
    "checkpoint",
    "device",
    "executor",
    "json",
    "num_envs",
    "output",
    "quiet",
    "resume",
    "shard",
    "timeout",
    "vs",
    "workers",
)
"""Entries of the configuration that may change when a run is resumed, because they do not change its results.
Weights and the run of --vs are compared by their digests instead, the shard as the record holds it, and a device that
changes results by the fingerprint."""

_RUNS = Path("runs")  # holds the runs without --output
_IN_VERSION_1 = ("env_id", "digest", "max_episode_steps")
"""Entries of the environment that a record of schema version 1 holds."""


def check_output(folder: Path | None, *, resume: bool, is_locked: bool = False) -> None:
    """Check, before a run starts, that it can write into `folder`.

    Removes the incomplete files of a process that was killed while it wrote its first record.

    Args:
        folder: Folder of the run; it need not exist. None for a new folder in `runs`.
        resume: Whether to continue the run in `folder`, if there is one.
        is_locked: Whether the caller holds the lock of `folder`.

    Raises:
        ResultsError: If `folder` holds a run and `resume` is false, holds a damaged run, or is not writable.
        SimScaleError: If `folder` is a file, holds files that are not of a run, or is locked by another process.
        OSError: If `folder` cannot be created.
    """
    if folder is None:
        check_new_folder(_RUNS / ".new")
        return
    if _holds_run(folder):
        if not resume:
            raise ResultsError(f"{folder} already holds a run; add --resume to continue it or choose another --output")
        RunRecord.read(folder)
    else:
        if folder.is_dir():
            with nullcontext() if is_locked else locked(folder):
                remove_partial_files(folder)
        check_new_folder(folder)
    if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
        raise ResultsError(f"expected a folder to write to, {folder} is not writable; choose another --output")


@contextmanager
def run_folder(output: Path | None, name: str, home: Path = Path()) -> Iterator[Path]:
    """Create the folder of a run in `home`, and hold its lock. At the end, remove what is new and still empty.

    Args:
        output: The folder; None for the next free folder `runs/<name>-<number>`.
        name: Name of the run.
        home: Working directory of the user.

    Yields:
        The path of the folder, relative to `home` or as the user gave it.

    Raises:
        SimScaleError: If `output` is a file, or another process holds the lock.
        OSError: If the folder cannot be created.
    """
    if output is not None:
        with output_folder(home / output):
            yield output
    else:
        with first_free_folder(home / _RUNS / f"{name}-{number:03d}" for number in count(1)) as folder:
            yield folder.relative_to(home)


def earlier_record(folder: Path) -> RunRecord | None:
    """Return the record of the run in `folder`; None if the run was killed before it wrote one.

    Raises:
        ResultsError: If the record is damaged.
    """
    return RunRecord.read(folder) if _holds_run(folder) else None


def earlier_results(folder: Path, plan: Sequence[EpisodeSpec]) -> list[EpisodeResult]:
    """Return the episodes in `folder` that need not run again: those that ended with another status than `error`.

    Raises:
        ResultsError: If `folder` holds an episode that is not in `plan`, or a damaged line.
    """
    results = read_results(folder / EPISODES_FILE)
    planned = {spec.episode_index: (spec.seed, spec.task) for spec in plan}
    for result in results:
        if planned.get(result.episode_index) != (result.seed, result.task):
            raise ResultsError(
                f"{folder / EPISODES_FILE} holds episode {result.episode_index} with seed {result.seed}, which is not "
                "in the plan; choose another --output"
            )
    return [result for result in results if result.status != "error"]


def check_same_run(folder: Path, before: RunRecord, now: RunRecord) -> None:
    """Check that the run in `folder` is resumed under the conditions under which it began.

    Compares the policies, the environment, the configuration without `MAY_DIFFER`, the number of episodes, the
    reference run of --vs, and the fingerprint. If `before` has schema version 1, compares only what that version
    recorded.

    Args:
        folder: Folder of the run.
        before: Record of the run when it began.
        now: Record that the run would have if it began now.

    Raises:
        ResultsError: If a condition differs. The text names each difference with both values.
    """
    then, present = run_conditions(before), run_conditions(now)
    if before.schema_version == 1:
        present = _limited_to_version_1(present, then)
        then = _limited_to_version_1(then, then)
    check_same_conditions(folder, then, present)


def check_repeats(folder: Path, before: RunRecord, now: RunRecord) -> None:
    """Check that the environment of the run in `folder` repeats itself, so that resuming changes no result.

    Raises:
        ResultsError: If it does not, or if that is not known.
    """
    if {before.environment.repeats, now.environment.repeats} != {"exact"}:
        raise ResultsError(
            f"cannot resume {folder} exactly: its environment is not known to repeat itself, so episodes that were "
            "running would be others; start a new run, or add --accept-inexact to continue this one"
        )


def check_same_conditions(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Check that the conditions `before` and `now` are the same, so that the work in `folder` can be resumed.

    Args:
        folder: Folder of a run or of another command, for the message.
        before: Conditions when the work began, plain JSON data.
        now: Present conditions, plain JSON data.

    Raises:
        ResultsError: If a condition differs. The text names each difference with both values.
    """
    differing = json_differences(before, now)
    if differing:
        listing = "\n".join(f"  {line}" for line in differing)
        raise ResultsError(
            f"cannot resume {folder}, it began under other conditions; choose another --output\n{listing}"
        )


def run_conditions(record: RunRecord) -> dict[str, Any]:
    """Return what must not change when a run is resumed, as plain JSON data."""
    data = record.to_json()
    reference = (data["sequential"] or {}).get("vs") or {}
    return {
        "config": {name: value for name, value in data["config"].items() if name not in MAY_DIFFER},
        "episodes": data["resolved"]["episodes"],
        "vs": reference.get("episodes_sha256"),
        "battery": data["battery"],
        "shard": data["shard"],
        "fingerprint": data["fingerprint"],
        "environment": {name: value for name, value in data["environment"].items() if name != "repeats"},
        "policies": {
            str(place): {name: value for name, value in policy.items() if name != "checkpoint"}
            for place, policy in enumerate(data["policies"])
        },
    }


def _limited_to_version_1(conditions: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of `conditions` that a record of schema version 1 holds; `before` are its conditions."""
    policy, config = before["policies"]["0"], before["config"]
    names = ("model", "identity") if policy["identity"] else ("model",)  # in version 1 only checkpoints had one
    return {
        **conditions,
        "config": {name: value for name, value in conditions["config"].items() if name in config},
        "environment": {name: conditions["environment"][name] for name in _IN_VERSION_1},
        "policies": {"0": {name: conditions["policies"]["0"][name] for name in names}},
    }


def _holds_run(folder: Path) -> bool:
    return (folder / RECORD_FILE).exists()
