"""The folder of a run: made for it, or taken up again where a killed run left it; held by one process at a time."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from eval.command import check_folder
from eval.plan import EpisodeSpec
from eval.reading import read_run
from eval.results import EPISODES_FILE, RECORD_FILE, EpisodeResult, ResultsError, RunRecord, read_results

MAY_DIFFER = ("checkpoint", "json", "num_envs", "output", "quiet", "resume", "vs", "workers")
"""Settings that do not change what is measured; the checkpoint and the run of --vs are compared by their digests."""


def check_output(folder: Path, *, resume: bool) -> None:
    """Refuse a folder that could not take the run, before any time is spent on it.

    Raises:
        ResultsError: If it holds a run that is not to be resumed, or to be resumed and is none, or is not writable.
        SimScaleError: If it is a file, or holds something else.
    """
    if _holds_run(folder):
        if not resume:
            raise ResultsError(f"{folder} already holds a run; add --resume to continue it or choose another --output")
        RunRecord.read(folder)
    else:
        _remove_leftovers(folder)
        check_folder(folder)
    if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
        raise ResultsError(f"expected a folder to write to, {folder} is not writable; choose another --output")


def next_free_folder(name: str) -> Path:
    """Create and return the folder of a run for which none was given: `runs/<name>-<number>`."""
    for number in count(1):
        folder = Path("runs") / f"{name}-{number:03d}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError("unreachable: the numbers do not end")


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other runs out of `folder`. A killed process lets go of it.

    Raises:
        ResultsError: If another run is at work there.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ResultsError(f"another run is writing to {folder}; wait for it or choose another --output") from error
        yield
    finally:
        os.close(descriptor)


def earlier_record(folder: Path) -> RunRecord | None:
    """Return the record of the run that `folder` holds; None if it was killed before there was one."""
    return read_run(folder).record if _holds_run(folder) else None


def earlier_results(folder: Path, plan: Sequence[EpisodeSpec]) -> list[EpisodeResult]:
    """Return what need not be run again: the finished episodes in `folder`, without those that are `error`.

    Raises:
        ResultsError: If there are episodes that `plan` does not have.
    """
    path = folder / EPISODES_FILE
    results = {result.episode_index: result for result in read_results(path)} if path.exists() else {}
    seeds = {spec.episode_index: spec.seed for spec in plan}
    for result in results.values():
        if seeds.get(result.episode_index) != result.seed:
            raise ResultsError(
                f"{path} holds episode {result.episode_index} with seed {result.seed}, which is not in the plan; "
                "choose another --output"
            )
    return [result for result in results.values() if result.status != "error"]


def check_same_run(folder: Path, before: RunRecord, now: RunRecord) -> None:
    """Refuse to continue the run in `folder` under other conditions than it began with.

    Raises:
        ResultsError: Naming each difference with both sides.
    """
    check_same_conditions(folder, _conditions(before), _conditions(now))


def check_same_conditions(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to continue what is in `folder` if `now` is not what was `before`; both are plain JSON data.

    Raises:
        ResultsError: Naming each difference with both sides.
    """
    differing = _differences("", before, now)
    if differing:
        listing = "\n".join(f"  {line}" for line in differing)
        raise ResultsError(f"cannot resume {folder}, which began otherwise; choose another --output\n{listing}")


def _conditions(record: RunRecord) -> dict[str, Any]:
    """Return what must not change within a run, as it is after a way through JSON."""
    config = {name: value for name, value in record.config.items() if name not in MAY_DIFFER}
    conditions = {
        "config": config,
        "episodes": record.resolved["episodes"],
        "vs": ((record.sequential or {}).get("vs") or {}).get("episodes_sha256"),
        "fingerprint": record.fingerprint,
        "checkpoint_digest": record.checkpoint_digest,
        "contract": record.contract,
    }
    plain: dict[str, Any] = json.loads(json.dumps(conditions))
    return plain


def _differences(name: str, before: Any, now: Any) -> list[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = [*before, *(key for key in now if key not in before)]
        return [line for key in keys for line in _differences(f"{name}.{key}", before.get(key), now.get(key))]
    return [] if before == now else [f"{name[1:]}: was {json.dumps(before)}, is {json.dumps(now)}"]


def _holds_run(folder: Path) -> bool:
    return (folder / RECORD_FILE).exists()


def _remove_leftovers(folder: Path) -> None:
    """Remove what a run that was killed while it wrote its first record left behind."""
    if folder.is_dir():
        (folder / f".{RECORD_FILE}.partial").unlink(missing_ok=True)
