"""Joins the shards of one run, which were made with `eval.rollout --shard`, to the folder of the whole run.

    python -m eval.merge runs/shard-* --output runs/whole

The merged `episodes.jsonl` has the bytes of a run that was not divided. The shards stay as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Annotated, Any

import tyro

from eval.episodes.plan import WHOLE, Shard
from eval.episodes.results import EpisodeResult, ResultsError
from eval.runs.folder import run_conditions
from eval.runs.log_file import EPISODES_FILE, write_results
from eval.runs.media_paths import TRACES_FOLDER, VIDEOS_FOLDER, trace_path, video_path
from eval.runs.reading import Run, read_run
from eval.runs.receipts import Receipt, read_receipts, write_receipts
from eval.runs.record import RECORD_FILE, RunRecord, Timing
from eval.runs.summary import summarise, timed
from eval.terminal.command import COMPLETE, EPISODE_ERRORS, run_command
from eval.terminal.console import Console
from eval.terminal.figures import summary_rows
from simscaleai.command_line import raise_at_interrupt
from simscaleai.files import locked, new_folder, read_file, replace_file
from simscaleai.json_data import json_differences

PROGRAM = "python -m eval.merge"

_MOST_SHOWN = 10  # largest number of gaps in a message
_FILMS = {VIDEOS_FOLDER: video_path, TRACES_FOLDER: trace_path}


@dataclass(frozen=True, kw_only=True)
class MergeConfig:
    """Join the shards of one run, made with eval.rollout --shard, to the folder of the whole run.

    The shards stay as they are. They must be of one run, and all of them complete.
    """

    shards: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SHARD [SHARD …]")]
    """Folders of all shards, in any order."""
    output: Path
    """Folder for the whole run, new or empty."""
    quiet: bool = False
    """Print only errors."""
    json: bool = False
    """Print the result as one JSON object instead of text."""


def merge(folders: Sequence[Path], output: Path) -> RunRecord:
    """Write the run whose shards are in `folders` into the new or empty folder `output`, and return its record.

    After a failure, `output` is as it was before.

    Raises:
        ResultsError: If the folders are not all shards of one run, each of them complete and once.
        SimScaleError: If `output` is not empty, or another process writes to one of the folders.
        OSError: If a folder cannot be read, or `output` cannot be written.
    """
    with new_folder(output) as whole, ExitStack() as locks:
        shards = [_locked_shard(folder, locks) for folder in _distinct(folders)]
        _check_one_run(shards)
        _check_complete(shards)
        shards.sort(key=lambda run: _shard(run).number)
        results = [result for run in shards for result in run.results]
        write_results(whole / EPISODES_FILE, results)
        write_receipts(whole, (receipt for run in shards for receipt in _receipts(run)))
        for run in shards:
            _copy_films(run, whole)
        record = _merged_record(shards, results, output)
        record.write(whole)
    return record


# Checks


def _distinct(folders: Sequence[Path]) -> Sequence[Path]:
    """Return `folders`; raise if one of them occurs twice, because its lock can be held only once."""
    for first, second in pairwise(sorted(folders, key=lambda folder: folder.resolve())):
        if first.resolve() == second.resolve():
            raise ResultsError(f"expected each shard once, got {first} twice")
    return folders


def _locked_shard(folder: Path, locks: ExitStack) -> Run:
    """Return the shard in `folder`, which stays locked until `locks` ends."""
    if RunRecord.read(folder).shard is None:
        raise ResultsError(f"expected a part of a run that was made with --shard, got {folder}, which is a whole run")
    locks.enter_context(locked(folder))
    return read_run(folder)


def _shard(run: Run) -> Shard:
    return run.record.shard or WHOLE


def _check_one_run(shards: Sequence[Run]) -> None:
    """Check that all shards were run under the conditions of the first, and none twice."""
    of_number: dict[int, Run] = {}
    expected = _conditions(shards[0])
    for run in shards:
        if differing := json_differences(expected, _conditions(run), verbs=("A has", "B has")):
            raise ResultsError(
                "\n  ".join([f"{shards[0].folder} (A) and {run.folder} (B) are not shards of one run", *differing])
            )
        other = of_number.setdefault(_shard(run).number, run)
        if other is not run:
            raise ResultsError(f"{other.folder} and {run.folder} both hold shard {_shard(run)}; leave one of them out")


def _conditions(run: Run) -> dict[str, Any]:
    """Return what all shards of one run have in common, as plain JSON data."""
    source = run.record.source
    return run_conditions(run.record) | {"shard": {"of": _shard(run).of}, "commit": source and source.commit}


def _check_complete(shards: Sequence[Run]) -> None:
    """Check that all shards are there, and each has all of its episodes and no other."""
    gaps = [*islice(_gaps(shards), _MOST_SHOWN + 1)]
    if gaps:
        shown = [*gaps[:_MOST_SHOWN], *["…"] * (len(gaps) > _MOST_SHOWN)]
        heading = "expected all shards, and all of their episodes; run what is missing with --shard and --resume"
        raise ResultsError("\n  ".join([heading, *shown]))


def _gaps(shards: Sequence[Run]) -> Iterator[str]:
    """Yield a line for each shard that is missing, incomplete, or holds episodes of others."""
    of = _shard(shards[0]).of
    numbers = {_shard(run).number for run in shards}
    for run in shards:
        yield from _gaps_of(run)
    for number in range(1, of + 1) if len(numbers) < of else ():
        if number not in numbers:
            yield f"shard {number}/{of} is in none of the folders"


def _gaps_of(run: Run) -> Iterator[str]:
    shard, planned = _shard(run), run.record.resolved.episodes
    own = range(shard.number - 1, planned, shard.of)
    indices = [result.episode_index for result in run.results]
    where = f"{run.folder}, shard {shard}"
    if foreign := [index for index in indices if index not in own]:
        yield f"{where}, holds episode {foreign[0]}, which does not belong to it"
    elif len(indices) < run.planned:
        missing = next(index for index, has in zip(own, [*indices, None], strict=False) if index != has)
        yield f"{where}, has {len(indices)} of {run.planned} episodes; the first that is missing is episode {missing}"
    elif not run.is_complete:
        yield f"{where}, has no summary, because it was killed at its end"


# The whole run


def _receipts(run: Run) -> list[Receipt]:
    own = {result.episode_index for result in run.results}
    return [receipt for receipt in read_receipts(run.folder) if receipt.episode_index in own]


def _copy_films(run: Run, whole: Path) -> None:
    """Copy the videos and traces of a shard to the folder of the whole run."""
    for name, path_of in _FILMS.items():
        if not (run.folder / name).is_dir():
            continue
        (whole / name).mkdir(exist_ok=True)
        for result in run.results:
            film = path_of(run.folder / name, result.episode_index)
            if film.exists():
                replace_file(whole / name / film.name, read_file(film))


def _merged_record(shards: Sequence[Run], results: Sequence[EpisodeResult], output: Path) -> RunRecord:
    records = [run.record for run in shards]
    first = records[0]
    resolved = replace(
        first.resolved,
        num_envs=max(record.resolved.num_envs for record in records),
        workers=sum(record.resolved.workers for record in records),
    )
    return replace(
        first,
        config={**first.config, "shard": None, "output": str(output), "resume": False},
        resolved=resolved,
        environment=replace(first.environment, repeats=_repeats(records)),
        timing=timed(Timing(started=_started(records)), results, sum(each.timing.seconds or 0.0 for each in records)),
        shard=None,
        summary=summarise(results, len(results)),
    )


def _repeats(records: Sequence[RunRecord]) -> Any:
    """Return what is known of the environment of all shards: that it repeats itself only if it did so for all."""
    found = {record.environment.repeats for record in records}
    return next(repeats for repeats in ("no", "unknown", "exact") if repeats in found)


def _started(records: Sequence[RunRecord]) -> str | None:
    """Return when the first shard began."""
    return min((record.timing.started for record in records if record.timing.started), default=None)


# The command


def _merge_and_print(config: MergeConfig) -> int:
    raise_at_interrupt()
    with Console(config.quiet, config.json) as console:
        record = merge(config.shards, config.output)
        summary = record.summary or summarise([], 0)
        rows = [
            *summary_rows(summary),
            ("shards", str(len(config.shards))),
            ("time", f"{record.timing.seconds or 0:.1f} s, that of all shards added up"),
            ("record", str(config.output / RECORD_FILE)),
            ("episodes", str(config.output / EPISODES_FILE)),
        ]
        console.conclude(rows, lambda: {"folder": str(config.output), "summary": summary.to_json()})
    return EPISODE_ERRORS if summary.errors else COMPLETE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code."""
    return run_command(MergeConfig, _merge_and_print, PROGRAM, arguments)


if __name__ == "__main__":
    sys.exit(main())
