"""Finds the scenes and the checkpoints that are part of the package."""

from __future__ import annotations

from pathlib import Path

from simscaleai.errors import SimScaleError


def asset_path(name: str) -> Path:
    """Return the path of `assets/<name>`, in a checkout or in an installed wheel.

    Raises:
        SimScaleError: If the asset is missing.
    """
    package = Path(__file__).absolute().parent  # not resolved: installers may make each file a link to elsewhere
    for folder in (package / "assets", package.parent / "assets"):
        if (folder / name).exists():
            return folder / name
    raise SimScaleError(f"asset {name!r} is missing in {package.parent / 'assets'}; install simscaleai again")
