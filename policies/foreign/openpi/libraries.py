"""Imports the libraries of the extra `openpi`, when they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from simscaleai.errors import SimScaleError


def import_library(name: str) -> Any:
    """Return the module `name` of msgpack or websockets.

    Raises:
        SimScaleError: If the library is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        library = name.partition(".")[0]
        raise SimScaleError(
            f"policy servers need the package {library}, which is not installed; pip install 'simscaleai[openpi]'"
        ) from error
