"""Loads what users name as `module:attribute` or `file.py:attribute`, and the values of options that they type."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import sys
import sysconfig
import traceback
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from simscaleai.errors import SimScaleError, exception_text

_PROJECT = Path(__file__).resolve().parents[2]
"""Folder that holds the packages of this project."""


class Loaded(NamedTuple):
    """What a user named."""

    value: Any
    module: str
    """Name of its module, which is in `sys.modules`."""


def load_attribute(kind: str, name: str) -> Loaded:
    """Import and return what `name` stands for: "module:attribute" or "path/to/file.py:attribute".

    A file may import the other files of its folder.

    Args:
        kind: Kind of thing, for messages, for example "policy".
        name: What the user typed.

    Raises:
        SimScaleError: If the module cannot be imported, or has no such attribute.
    """
    place, _, attribute = name.rpartition(":")
    try:
        module = _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        return Loaded(getattr(module, attribute), module.__name__)
    except (Exception, SystemExit) as error:
        raise SimScaleError(
            f"cannot use {kind} {name!r}: {reason_text(error)}; expected an importable module:attribute, "
            "or file.py:attribute"
        ) from error


def typed_value(text: str) -> Any:
    """Return `text`, typed by a user as the value of an option, as a number, a bool or a text."""
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError):  # no literal: it stays a text
        value = ast.literal_eval(text)
        return value if isinstance(value, int | float | bool) else text
    return text


def reason_text(error: BaseException) -> str:
    """Return an exception and its place in the user's code, in one line."""
    ours = tuple(str(_PROJECT / package) for package in ("envs", "policies", "simscaleai"))
    packages = tuple(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    library = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith(packages) or not frame.filename.startswith(("<", *ours, *library))
    ]
    frames = [frame for frame in frames if not frame.filename.startswith(packages)] or frames
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return exception_text(error) + place


def _load_file(path: Path) -> ModuleType:
    """Return the module in the file `path`. It is called like the file, unless another module has this name."""
    path = path.absolute()
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    name = path.stem
    if importlib.util.find_spec(name) and _file_of(name) != path:
        name = f"{name}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _file_of(name: str) -> Path | None:
    """Return the file of the top-level module `name`, which exists."""
    spec = importlib.util.find_spec(name)
    return None if spec is None or spec.origin is None else Path(spec.origin).absolute()
