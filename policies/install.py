"""Installs a library whose policies run in an interpreter of their own, and checks it.

python -m policies install lerobot
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from policies.foreign.libraries import find_library, library_names
from policies.foreign.remote import INSTALL, check_library
from simscaleai.errors import SimScaleError
from simscaleai.hosting.interpreters import find_python, install, is_installed, read_report, uninstall, write_report

Rows = list[tuple[str, str]]
"""What a check found: heading and text."""


@dataclass(frozen=True, kw_only=True)
class InstallConfig:
    """Install a library for policies, with the packages of its lock file, in an interpreter of its own, and check it.

    Instead of --name, the name may be the first word: `python -m policies install lerobot`. The packages go to the
    user's data folder, or to SIMSCALE_HOME. An earlier installation is replaced.
    """

    name: str
    """Name of the library; `python -m policies` lists them."""
    python: Path | None = None
    """Interpreter to use; by default one of a version that the lock file is for."""


def install_library(name: str, python: Path | None, say: Callable[[str], None]) -> Rows:
    """Install and check the library `name`; return what was found.

    Args:
        name: Name of the library.
        python: Interpreter to use; None for one of a version that the lock file is for.
        say: Gets a line of text before each part of the work.

    Raises:
        UnknownNameError: If there is no such library.
        SimScaleError: If there is no such interpreter, the packages cannot be installed, or the check fails. Nothing is
            left behind then.
    """
    library = find_library(name)
    install(name, library.lock, python or find_python(library.pythons), say)
    say(f"checking {name}")
    try:
        rows = check_library(library)
    except SimScaleError:
        uninstall(name)
        raise
    write_report(name, {"rows": rows})
    return rows


def libraries() -> Iterator[tuple[str, str]]:
    """Yield name, and summary with what the installation found, of each library."""
    for name in library_names():
        library = find_library(name)
        where = _found(name) if is_installed(name, library.lock) else f"{INSTALL} {name}"
        yield name, f"{library.summary}; {where}"


def _found(name: str) -> str:
    packages = dict(read_report(name).get("rows") or ()).get("Packages", "")
    return f"installed: {packages.partition(',')[0]}" if packages else "installed"
