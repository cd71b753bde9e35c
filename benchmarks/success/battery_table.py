"""Writes the cells of robustness batteries into benchmarks/results/robustness.csv, one row for each axis and level.

    python -m benchmarks.success.battery_table runs/robust-pick-place runs/robust-language

The table has rows of the batteries of the command line only; give all of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from benchmarks.tables import RESULTS, write_csv
from envs.choices import EnvironmentFlags
from eval.battery.as_json import battery_to_json
from eval.battery.reading import read_battery
from eval.robustness import PROGRAM, RobustnessConfig
from eval.runs.record import RunRecord
from eval.terminal.flags import command_line
from simscaleai.errors import SimScaleError

TABLE = RESULTS / "robustness.csv"


def rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield a row for each cell of the battery in `folder`, the control as level 0 of each axis.

    Options of the policy that the user chose belong to its name.

    Raises:
        SimScaleError: If there is no battery, or it is damaged.
    """
    battery, record = battery_to_json(read_battery(folder)), RunRecord.read(folder)
    source, command = record.source, _command(record.config)
    for axis in battery["axes"]:
        for level, cell in axis["levels"].items():
            low, high = cell["wilson_95"]
            yield {
                "policy": " ".join([battery["model"], *record.settings.policy_option]),
                "environment": battery["environment"],
                "axis": axis["name"],
                "level": level,
                "magnitude": f"{cell['magnitude']:g} {axis['unit']}".strip(),
                "successes": cell["successes"],
                "n": cell["n"],
                "wilson_low": f"{low:.4f}",
                "wilson_high": f"{high:.4f}",
                "expert": cell["ceiling"]["successes"] if cell["ceiling"] else "",
                "errors": cell["errors"],
                "first_seed": battery["seeds"][0],
                "commit": source.commit[:12] if source and source.commit else "",
                "command": command,
            }


def _command(config: Mapping[str, Any]) -> str:
    """Return the command that gives the cells of a battery with this configuration; its other flags change no cell."""
    meant = {"model", "policy_option", "axes", "levels", "episodes", "seed"} | {
        each.name for each in fields(EnvironmentFlags)
    }
    given = {name: tuple(each) if isinstance(each, list) else each for name, each in config.items() if name in meant}
    return command_line(PROGRAM, RobustnessConfig(**given))


def main() -> int:
    """Write the table of the battery folders on the command line, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+", help="folders that eval.robustness has written")
    try:
        found = [row for folder in parser.parse_args().folders for row in rows(folder)]
    except SimScaleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    write_csv(TABLE, found)
    print(f"{TABLE}: {len(found)} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
