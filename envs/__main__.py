"""Lists the environments, checks one, installs a suite of others, or draws pictures.

python -m envs
python -m envs check gym:Reacher-v5 --success 'return>=-5'
python -m envs install metaworld
python -m envs --contact-sheet environments.png
python -m envs --contact-sheet perturbations.png --perturbations-of pick-place --camera front
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envs.catalogue import Entry, catalogue
from envs.registration import find_environment, registrations, unusable_environments
from envs.tabletop.names import ACTION, CAMERAS, CONTROL_HZ
from simscaleai.command_line import exit_code, parse, printable, raise_at_interrupt
from simscaleai.errors import SimScaleError

_PROGRAM = "python -m envs"
_SHOWN = ("Observation", "Control", "Success", "Episode end", "Problem")
_TABLETOP = {
    "control": f"Box(-1, 1, ({ACTION.size},), float32): {ACTION.meaning}; {CONTROL_HZ} control steps per second.",
    "on request": "environment_state=True adds environment_state, simulator truth; "
    f"cameras={CAMERAS!r} adds {' and '.join(CAMERAS)}, uint8 images (H, W, 3).",
    "make": 'gymnasium.make("envs:SimScale/PickPlace-v0"), gymnasium.make_vec("envs:…", num_envs=16)',
}


@dataclass(frozen=True)
class ListConfig:
    """List the environments. `python -m envs check NAME` checks one, `python -m envs install NAME` installs a suite."""

    contact_sheet: Path | None = None
    """PNG file to write, with the first frames of every environment; no list is printed."""
    perturbations_of: str | None = None
    """Environment that the contact sheet shows instead: each perturbation of its scene, at the levels 0 to 5."""
    camera: str = "front"
    """Camera of the sheet of perturbations."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code: 2 for a user's mistake, 130 after Ctrl-C."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    kinds = {"check": _check, "install": _install}
    if words and words[0] in kinds:
        return exit_code(lambda: kinds[words[0]](words[1:]), "interrupted; nothing half-installed is left")
    return exit_code(lambda: _list(words))


def _list(words: Sequence[str]) -> int:
    config: ListConfig = parse(ListConfig, _PROGRAM, words)
    if config.contact_sheet is None and config.perturbations_of is None:
        print(_listing(catalogue(), unusable_environments()))
    elif config.contact_sheet is None:
        raise SimScaleError("--perturbations-of needs a file to write; add --contact-sheet FILE.png")
    else:
        _save_sheet(config, config.contact_sheet)
    return 0


def _check(words: Sequence[str]) -> int:
    from envs.check import CheckConfig, check_environment, report_lines

    named = ["--env", *words] if words and not words[0].startswith("-") else words
    config: CheckConfig = parse(CheckConfig, f"{_PROGRAM} check", named)
    broken = False
    for name in (config.environment, *find_environment(config.environment).tasks):
        checked = check_environment(name)
        print("\n".join(printable(line) for line in report_lines(name, checked)))
        broken = broken or bool(checked.problem)
    return int(broken)


def _install(words: Sequence[str]) -> int:
    from envs.check import report_lines
    from envs.install import InstallConfig, install_suite

    named = ["--name", *words] if words and not words[0].startswith("-") else words
    config: InstallConfig = parse(InstallConfig, f"{_PROGRAM} install", named)
    raise_at_interrupt()
    found = install_suite(config.name, config.python, lambda text: print(printable(text), flush=True))
    print("\n".join(printable(line) for line in report_lines(config.name, found)))
    return 1 if found.problem else 0


def _save_sheet(config: ListConfig, path: Path) -> None:
    from envs.contact_sheet import save_contact_sheet, save_perturbation_sheet

    if path.suffix.lower() != ".png":
        raise SimScaleError(f"expected a name that ends in .png, got {path}")
    if config.perturbations_of is None:
        save_contact_sheet(path, registrations())
    else:
        save_perturbation_sheet(path, find_environment(config.perturbations_of), config.camera)
    print(path)


def _listing(entries: Sequence[Entry], unusable: Mapping[str, str]) -> str:
    from envs.install import suites

    blocks = []
    for entry in entries:
        rows = {"": entry.summary, **{heading.lower(): entry.sections.get(heading, "") for heading in _SHOWN}}
        blocks.append(f"{entry.name}  {entry.env_id}\n{_table(rows)}")
    blocks.append(f"every SimScale environment\n{_table(_TABLETOP)}")
    blocks += [
        f"{name}\n{_table({'': summary, 'environments': names, 'installation': where})}"
        for name, where, summary, names in suites()
    ]
    blocks += [f"{name}  cannot be used\n{_table({'': reason})}" for name, reason in unusable.items()]
    return "\n\n".join(blocks)


def _table(rows: Mapping[str, str]) -> str:
    width = min(shutil.get_terminal_size((110, 24)).columns, 120)
    lines = [
        textwrap.fill(text, width, initial_indent=f"  {heading:<13}" if heading else "  ", subsequent_indent=" " * 15)
        for heading, text in rows.items()
        if text
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
