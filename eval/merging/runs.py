"""Joins the shards of one run, or of one robustness battery, to the folder of the whole run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.battery.reading import runs_below
from eval.episodes.plan import WHOLE
from eval.episodes.results import EpisodeResult, ResultsError
from eval.merging.shards import Part, check_parts, locked_shards
from eval.runs.folder import run_conditions
from eval.runs.log_file import EPISODES_FILE, write_results
from eval.runs.media_paths import FRAMES_FOLDER, MEDIA
from eval.runs.reading import Run, read_run
from eval.runs.receipts import Receipt, read_receipts, write_receipts
from eval.runs.record import RunRecord, Summary, Timing
from eval.runs.summary import summarise, timed
from simscaleai.files import new_folder, read_file, replace_file


def merge_runs(folders: Sequence[Path], output: Path) -> RunRecord:
    """Write the run whose shards are in `folders` into the new or empty folder `output`, and return its record.

    Of a battery, the runs of the expert, of further policies and of other options are merged, too. After a failure,
    `output` is as it was before.

    Raises:
        ResultsError: If the folders are not all shards of one run, each of them complete and once.
        SimScaleError: If `output` is not empty, or another process writes to one of the folders.
        OSError: If a folder cannot be read, or `output` cannot be written.
    """
    with new_folder(output) as whole:
        for folder in folders:
            _check_is_shard(folder)
        with locked_shards(folders):
            record = _merge_one(folders, whole, output)
            if record.battery is not None:
                for below in _runs_below(folders):
                    _merge_one([folder / below for folder in folders], whole / below, output)
                _copy_frames(folders, whole)
    return record


def _check_is_shard(folder: Path) -> None:
    if RunRecord.read(folder).shard is None:
        raise ResultsError(f"expected a part of a run that was made with --shard, got {folder}, which is a whole run")


def _runs_below(folders: Sequence[Path]) -> list[Path]:
    """Return the folders of the other runs of a battery, relative to that of each shard.

    Raises:
        ResultsError: If a shard lacks a run that another one has.
    """
    of_shard = {folder: runs_below(folder) for folder in folders}
    runs = sorted({run for found in of_shard.values() for run in found})
    for folder, found in of_shard.items():
        if missing := [run for run in runs if run not in found]:
            raise ResultsError(
                f"{folder} has no run in {missing[0]}, which other shards have; continue the shard with --resume"
            )
    return runs


def _merge_one(folders: Sequence[Path], whole: Path, output: Path) -> RunRecord:
    """Merge one run into the folder `whole`; `output` is the folder that the user chose."""
    shards = [read_run(folder) for folder in folders]
    check_parts([_part(run) for run in shards])
    shards.sort(key=lambda run: (run.record.shard or WHOLE).number)
    results = sorted((result for run in shards for result in run.results), key=lambda result: result.episode_index)
    whole.mkdir(parents=True, exist_ok=True)
    write_results(whole / EPISODES_FILE, results)
    write_receipts(whole, (receipt for run in shards for receipt in _receipts(run)))
    for run in shards:
        _copy_media(run, whole)
    record = _merged_record(shards, results, output)
    record.write(whole)
    return record


def _part(run: Run) -> Part:
    record = run.record
    source = record.source
    return Part(
        folder=run.folder,
        shard=record.shard or WHOLE,
        conditions=run_conditions(record) | {"commit": source and source.commit},
        indices=[result.episode_index for result in run.results],
        planned=record.resolved.episodes,
        has_ended=record.summary is not None,
    )


def _receipts(run: Run) -> list[Receipt]:
    own = {result.episode_index for result in run.results}
    return [receipt for receipt in read_receipts(run.folder) if receipt.episode_index in own]


def _copy_media(run: Run, whole: Path) -> None:
    """Copy the videos, traces and recordings of a shard to the folder of the whole run."""
    for name, path_of in MEDIA.items():
        if not (run.folder / name).is_dir():
            continue
        (whole / name).mkdir(exist_ok=True)
        for result in run.results:
            file = path_of(run.folder / name, result.episode_index)
            if file.exists():
                replace_file(whole / name / file.name, read_file(file))


def _copy_frames(folders: Sequence[Path], whole: Path) -> None:
    """Copy the pictures of the first start of a battery, which belongs to the first shard."""
    first = min(folders, key=lambda folder: (RunRecord.read(folder).shard or WHOLE).number)
    for picture in sorted((first / FRAMES_FOLDER).glob("*.png")):
        (whole / FRAMES_FOLDER).mkdir(exist_ok=True)
        replace_file(whole / FRAMES_FOLDER / picture.name, read_file(picture))


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
        summary=_summary(first, results),
    )


def _summary(record: RunRecord, results: Sequence[EpisodeResult]) -> Summary:
    """Return the figures of the run; of a battery, those of its control."""
    counted = results if record.battery is None else [result for result in results if result.arm is None]
    return summarise(counted, len(counted))


def _repeats(records: Sequence[RunRecord]) -> Any:
    """Return what is known of the environment of all shards: that it repeats itself only if it did so for all."""
    found = {record.environment.repeats for record in records}
    return next(repeats for repeats in ("no", "unknown", "exact") if repeats in found)


def _started(records: Sequence[RunRecord]) -> str | None:
    """Return when the first shard began."""
    return min((record.timing.started for record in records if record.timing.started), default=None)
