"""Writes a report of runs: one self-contained HTML page, Markdown, JSON, or the eval_info.json of LeRobot.

python -m eval.report runs/a runs/b --output report.html
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from eval.battery.as_json import battery_to_json
from eval.battery.reading import read_battery
from eval.report.battery_page import render_battery_page
from eval.report.contents import Report
from eval.report.findings import build_report
from eval.report.lerobot import render_lerobot
from eval.report.page import render_page
from eval.report.text import REPORT_VERSION, render_json, render_markdown
from eval.runs.log_file import EPISODES_FILE
from eval.runs.media_paths import REPORT_FILE
from eval.runs.receipts import RECEIPTS_FILE
from eval.runs.record import RunRecord
from eval.runs.versions import RECORD_FILE
from eval.terminal.command import COMPLETE, run_command
from eval.terminal.console import output_to_stderr, printable_lines
from simscaleai.command_line import printable
from simscaleai.errors import SimScaleError
from simscaleai.files import replace_file

Format = Literal["html", "md", "json", "lerobot"]

PROGRAM = "python -m eval.report"

_RENDER: dict[Format, Callable[[Report], str]] = {
    "html": render_page,
    "md": render_markdown,
    "json": render_json,
    "lerobot": render_lerobot,
}
_OF_SUFFIX: dict[str, Format] = {".html": "html", ".md": "md", ".json": "json"}


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Write a report of runs: one HTML page that opens from disk, Markdown, JSON, or the eval_info.json of LeRobot.

    Each run is compared with the first run of its environment, if both have the same episodes.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN …]")]
    """Run folders. The first run of an environment is run A of every comparison."""
    output: Path | None = None
    """File to write. By default report.html in the first run folder; the other formats are printed."""
    format: Format | None = None
    """Format of the report; lerobot is the eval_info.json of lerobot-eval, for one run. By default the suffix of
    --output; without --output, html."""


def report(config: ReportConfig) -> Path | None:
    """Write the report that `config` describes and return its path; None if it was printed.

    Raises:
        SimScaleError: If a run folder cannot be read, or the report cannot be written.
    """
    chosen = _format(config)
    _check_output(config.output)
    with output_to_stderr(), chdir("."):  # the page asks an environment for the starts of episodes
        batteries = _are_batteries(config.runs)
        text = _battery_text(config.runs, chosen) if batteries else _RENDER[chosen](build_report(config.runs))
    text = text.encode("utf-8", errors="replace").decode()  # an escape in JSON may give a lone surrogate
    output = config.output or (config.runs[0] / REPORT_FILE if chosen == "html" else None)
    if output is None:
        print(printable_lines(text), end="")
        return None
    replace_file(output, text.encode())
    print(printable(f"{output}  {_size_text(output.stat().st_size)}"))
    return output


def _are_batteries(folders: Sequence[Path]) -> bool:
    """Return whether `folders` hold robustness batteries.

    Raises:
        SimScaleError: If some do and others hold plain runs.
    """
    found = [RunRecord.read(folder).battery is not None for folder in folders]
    if any(found) and not all(found):
        plain = folders[found.index(False)]
        raise SimScaleError(f"expected plain runs or robustness batteries, got both; {plain} is a plain run")
    return any(found)


def _battery_text(folders: Sequence[Path], chosen: Format) -> str:
    """Return the report of robustness batteries."""
    batteries = [read_battery(folder) for folder in folders]
    if chosen == "html":
        return render_battery_page(batteries)
    if chosen == "json":
        found = {"report_version": REPORT_VERSION, "batteries": [battery_to_json(battery) for battery in batteries]}
        return json.dumps(found, indent=2, allow_nan=False) + "\n"
    raise SimScaleError("a robustness battery has a report in HTML and JSON alone; choose --format html or json")


def _format(config: ReportConfig) -> Format:
    if config.format is not None:
        return config.format
    suffix = config.output.suffix if config.output else ".html"
    if suffix in _OF_SUFFIX:
        return _OF_SUFFIX[suffix]
    raise SimScaleError(f"expected --output to end with .html, .md or .json, got {config.output}; or add --format")


def _size_text(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1_000_000 else f"{size / 1e3:.0f} kB"


def _check_output(output: Path | None) -> None:
    if output is None:
        return
    if output.name in (EPISODES_FILE, RECEIPTS_FILE, RECORD_FILE):
        raise SimScaleError(f"{output} would replace a file of a run; choose another --output")
    if output.is_dir():
        raise SimScaleError(f"expected a file to write, {output} is a folder; choose another --output")
    if not os.access(output.parent, os.W_OK):
        raise SimScaleError(
            f"cannot write {output}: its folder does not exist or is not writable; choose another --output"
        )


def _write(config: ReportConfig) -> int:
    report(config)
    return COMPLETE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code."""
    return run_command(ReportConfig, _write, PROGRAM, arguments)


if __name__ == "__main__":
    sys.exit(main())
