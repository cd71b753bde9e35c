"""Joins the shards of one run, battery or collection, which were made with `--shard`, to the whole.

    python -m eval.merge runs/shard-* --output runs/whole

The merged `episodes.jsonl` has the bytes of a run that was not divided, and so have all files of a merged dataset. The
shards stay as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from eval.battery.as_json import battery_to_json
from eval.battery.reading import read_battery
from eval.battery.text import folder_rows
from eval.episodes.results import ResultsError
from eval.merging.datasets import is_dataset, merge_datasets
from eval.merging.runs import merge_runs
from eval.report.battery_page import write_battery_page
from eval.runs.log_file import EPISODES_FILE
from eval.runs.record import RunRecord
from eval.runs.summary import summarise
from eval.runs.versions import RECORD_FILE
from eval.terminal.command import COMPLETE, EPISODE_ERRORS, run_command
from eval.terminal.console import Console, Row
from eval.terminal.figures import summary_rows
from simscaleai.command_line import raise_at_interrupt

PROGRAM = "python -m eval.merge"


@dataclass(frozen=True, kw_only=True)
class MergeConfig:
    """Join the shards of one run, made with --shard of eval.rollout, eval.robustness or eval.collect, to the whole.

    The shards stay as they are. They must be of one run or collection, and all of them complete.
    """

    shards: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SHARD [SHARD …]")]
    """Folders of all shards, in any order."""
    output: Path
    """Folder for the whole run or dataset, new or empty."""
    quiet: bool = False
    """Print only errors."""
    json: bool = False
    """Print the result as one JSON object instead of text."""


def _merge_and_print(config: MergeConfig) -> int:
    raise_at_interrupt()
    with Console(config.quiet, config.json) as console:
        if _are_datasets(config.shards):
            return _merge_datasets(config, console)
        record = merge_runs(config.shards, config.output)
        return _conclude_run(config, record, console) if record.battery is None else _conclude_battery(config, console)


def _are_datasets(shards: Sequence[Path]) -> bool:
    """Return whether `shards` are datasets; raise if only some of them are."""
    kinds = {is_dataset(folder): folder for folder in shards}
    if len(kinds) > 1:
        raise ResultsError(f"expected shards of one kind, got the dataset {kinds[True]}, and {kinds[False]}")
    return True in kinds


def _merge_datasets(config: MergeConfig, console: Console) -> int:
    merged = merge_datasets(config.shards, config.output, progress=not config.quiet)
    rows = [
        ("dataset", f"{config.output}: {merged.kept} episodes"),
        ("discarded", f"{merged.discarded}/{merged.kept + merged.discarded}"),
        _shards_row(config),
    ]
    console.conclude(rows, lambda: {"folder": str(config.output)} | asdict(merged))
    return COMPLETE if merged.kept else EPISODE_ERRORS


def _conclude_run(config: MergeConfig, record: RunRecord, console: Console) -> int:
    summary = record.summary or summarise([], 0)
    rows = [
        *summary_rows(summary),
        _shards_row(config),
        ("time", f"{record.timing.seconds or 0:.1f} s, that of all shards added up"),
        ("record", str(config.output / RECORD_FILE)),
        ("episodes", str(config.output / EPISODES_FILE)),
    ]
    console.conclude(rows, lambda: {"folder": str(config.output), "summary": summary.to_json()})
    return EPISODE_ERRORS if summary.errors else COMPLETE


def _conclude_battery(config: MergeConfig, console: Console) -> int:
    """Write the page of the merged battery and print the findings."""
    battery = read_battery(config.output)
    page = write_battery_page(battery)
    rows = [*folder_rows(battery), _shards_row(config), ("record", str(config.output)), ("report", str(page))]
    files = {"folder": str(config.output), "report": str(page)}
    console.conclude(rows, lambda: files | battery_to_json(battery))
    return EPISODE_ERRORS if battery.has_errors else COMPLETE


def _shards_row(config: MergeConfig) -> Row:
    return "shards", str(len(config.shards))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code."""
    return run_command(MergeConfig, _merge_and_print, PROGRAM, arguments)


if __name__ == "__main__":
    sys.exit(main())
