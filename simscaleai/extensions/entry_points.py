"""Entry points, through which other installed packages add policies and environments by name.

A package declares its entry points in its `pyproject.toml`::

    [project.entry-points."simscaleai.policies"]
    my-policy = "my_package.policies:MyPolicy"
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from simscaleai.errors import SimScaleError, exception_text


def entry_point_names(group: str) -> dict[str, str]:
    """Return a dictionary from the name of each entry point of `group` to its target, without loading the targets."""
    return {point.name: point.value for point in _points(group)}


def load_entry_point(group: str, name: str) -> Any:
    """Load and return the target of the entry point `name` of `group`.

    Raises:
        SimScaleError: If no package or more than one declares the name, or loading fails. The text says why.
    """
    found = [point for point in _points(group) if point.name == name]
    if len(found) != 1:
        places = ", ".join(point.value for point in found) or "none"
        raise SimScaleError(f"expected one entry point {name!r} of group {group}, got {places}; uninstall the others")
    try:
        return found[0].load()
    except (Exception, SystemExit) as error:
        raise SimScaleError(
            f"cannot load {name!r} from {found[0].value} ({exception_text(error)}); repair or uninstall that package"
        ) from error


def _points(group: str) -> list[EntryPoint]:
    return _read_points(group, tuple(sys.path))


@lru_cache
def _read_points(group: str, places: tuple[str, ...]) -> list[EntryPoint]:
    """Read the metadata of all packages, which takes long, once for each state of `sys.path`, which is `places`."""
    unique = {(point.name, point.value): point for point in entry_points(group=group)}
    return sorted(unique.values(), key=lambda point: point.name)
