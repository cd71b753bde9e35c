"""Lists the environments, and shows how they look.

python -m envs
python -m envs --contact-sheet environments.png
"""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from envs.catalogue import Entry, catalogue
from envs.interface import ACTION_DIM, ACTION_MEANING, CAMERAS, CONTROL_HZ, SimScaleError
from envs.registration import ENVIRONMENTS

_SHOWN = ("Observation", "Success", "Episode end")
_COMMON = {
    "action": f"Box(-1, 1, ({ACTION_DIM},), float32): {ACTION_MEANING}; {CONTROL_HZ} control steps per second.",
    "on request": "environment_state=True adds environment_state, the simulator's truth; "
    f"cameras={CAMERAS!r} adds image, uint8 (H, W, 3 for each camera).",
    "make": 'gymnasium.make("envs:SimScale/PickPlace-v0"), gymnasium.make_vec("envs:…", num_envs=16)',
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m envs", description="List the environments.", exit_on_error=False)
    parser.add_argument("--contact-sheet", type=Path, metavar="FILE.png", help="draw first frames into a PNG instead")
    try:
        options, unknown = parser.parse_known_args(arguments)
        if unknown:
            raise SimScaleError(f"unknown arguments: {' '.join(unknown)}; see python -m envs --help")
        if options.contact_sheet is None:
            print(_listing(catalogue()))
        else:
            _save_sheet(options.contact_sheet)
    except (SimScaleError, argparse.ArgumentError, OSError) as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 2
    return 0


def _save_sheet(path: Path) -> None:
    from envs.contact_sheet import save_contact_sheet

    if path.suffix.lower() != ".png":
        raise SimScaleError(f"expected a name that ends in .png, got {path}")
    save_contact_sheet(path, ENVIRONMENTS)
    print(path)


def _listing(entries: Sequence[Entry]) -> str:
    blocks = []
    for entry in entries:
        rows = {"": entry.summary, **{heading.lower(): entry.sections.get(heading, "") for heading in _SHOWN}}
        blocks.append(f"{entry.name}  {entry.env_id}\n{_table(rows)}")
    return "\n\n".join([*blocks, f"every environment\n{_table(_COMMON)}"])


def _table(rows: dict[str, str]) -> str:
    width = min(shutil.get_terminal_size((110, 24)).columns, 120)
    lines = [
        textwrap.fill(text, width, initial_indent=f"  {heading:<13}" if heading else "  ", subsequent_indent=" " * 15)
        for heading, text in rows.items()
        if text
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
