"""Shows a folder of runs as one page, while runs go on, or writes it as files.

python -m eval.view runs/
python -m eval.view runs/ --output site/
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from eval.battery.reading import read_battery
from eval.report.battery_page import render_battery_page
from eval.report.findings import build_report
from eval.report.page import render_page
from eval.runs.record import RunRecord
from eval.terminal.command import COMPLETE, run_command
from eval.view.contents import Contents
from eval.view.pages.comparison_page import comparison_page
from eval.view.pages.curves import curves_page
from eval.view.run_index import RunIndex
from eval.view.server import ViewServer, serve_until_interrupted
from eval.view.site import write_site
from simscaleai.command_line import printable
from simscaleai.errors import SimScaleError

PROGRAM = "python -m eval.view"


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """Show all runs below a folder on one page, live while they go on. Only this machine can open it; Ctrl-C ends."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")] = Path("runs")
    """Folder that holds run folders, at any depth."""
    output: Path | None = None
    """New folder for the pages as files that open from disk, instead of serving them."""
    port: int = 8765
    """Port on the loopback interface; 0 for any free one."""


def contents(folder: Path) -> Contents:
    """Return what there is to show about the runs in `folder`.

    Raises:
        SimScaleError: If there is no such folder.
    """
    if not folder.is_dir():
        raise SimScaleError(f"expected a folder of runs, got {folder}, which is none; for example runs")
    return Contents(RunIndex(folder), {"comparison": comparison_page, "curves": curves_page}, _report)


def _report(folders: Sequence[Path]) -> str:
    """Return the report of run folders, which never imports or runs what a run names."""
    if RunRecord.read(folders[0]).battery is not None:
        return render_battery_page([read_battery(folder) for folder in folders])
    return render_page(build_report(folders, with_places=False))


def _view(config: ViewConfig) -> int:
    if config.output is not None:
        number = write_site(config.output, contents(config.folder).answer)
        print(printable(f"{config.output / 'index.html'}  {number} run{'s' * (number != 1)}"))
        return COMPLETE
    server = ViewServer(contents(config.folder).answer, config.port)
    print(printable(f"{server.url}  shows {config.folder}; Ctrl-C ends"), flush=True)
    serve_until_interrupted(server)
    return COMPLETE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code."""
    return run_command(ViewConfig, _view, PROGRAM, arguments)


if __name__ == "__main__":
    sys.exit(main())
