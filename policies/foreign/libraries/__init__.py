"""Libraries whose policies run in an interpreter of their own. Each is two Python files and one lock file.

* `NAME.py` is for this process: which files hold a policy, and how its inputs fit an environment (`LIBRARY`).
* `NAME_policy.py` is for the host, which runs where the library is installed: `PACKAGES`, `load` and `check`.
* `NAME.txt` names all packages with their versions.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simscaleai.contract import EnvSpec, Needs
from simscaleai.errors import UnknownNameError

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a policy fits an environment."""

    needs: Needs
    keys: Mapping[str, str]
    """Name of each input of the policy to the key of the observation that it gets."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Execution options that come with the policy."""


@dataclass(frozen=True, kw_only=True)
class Library:
    """One library."""

    name: str
    """Name in `--model NAME:PATH` and `python -m policies install NAME`."""
    summary: str
    module: str
    """Name of the module to import, by which an interpreter is known to have the library."""
    pythons: tuple[str, ...]
    """Versions of Python that the lock file is for, the best first."""
    options: Mapping[str, Any]
    """Policy options and their defaults."""
    locate: Callable[[str], Path]
    """Returns the file or folder to load for what the user typed."""
    recognises: Callable[[Path], bool]
    """Returns whether a file or folder is one of the library's policies."""
    fit: Callable[[Mapping[str, Any], EnvSpec], Fit]
    """Returns how a policy fits an environment, from the facts that the host tells. Raises `MismatchError`."""
    file_options: tuple[str, ...] = ()
    """Options that name a file, which is part of the policy."""

    @property
    def lock(self) -> Path:
        """The lock file."""
        return _FOLDER / f"{self.name}.txt"


def library_names() -> list[str]:
    """Return the names of all libraries, whether installed or not."""
    return sorted(path.stem for path in _FOLDER.glob("*.txt"))


def library_of(place: Path) -> str:
    """Return the name of the library whose policy the file or folder `place` is; "" if it is of none."""
    return next((name for name in library_names() if find_library(name).recognises(place)), "")


def find_library(name: str) -> Library:
    """Return the library `name`.

    Raises:
        UnknownNameError: If there is none.
    """
    if name not in library_names():
        raise UnknownNameError("library", name, library_names())
    library: Library = importlib.import_module(f"{__name__}.{name}").LIBRARY
    return library
