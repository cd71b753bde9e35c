"""What the environments are, in the words of their tasks' docstrings, read without importing a simulator."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from envs.interface import SimScaleError
from envs.registration import ENVIRONMENTS, task_location

_SECTION = re.compile(r"\*\*([^*]+?)\.?\*\*[.,:]?\s*(.*)", re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """One environment."""

    name: str
    """Short name, as in `--env reach`."""
    env_id: str
    summary: str
    """What is to be done, in one sentence."""
    sections: Mapping[str, str]
    """Headings of the docstring ("Observation", "Success", "Episode end", …) to their text, on one line each."""


def catalogue() -> list[Entry]:
    """Return all registered environments, in the order of their registration."""
    return [_entry(name, env_id) for name, env_id in ENVIRONMENTS.items()]


def _entry(name: str, env_id: str) -> Entry:
    summary, *paragraphs = _docstring(task_location(env_id)).replace("`", "").split("\n\n")
    sections = {}
    for paragraph in paragraphs:
        match = _SECTION.fullmatch(paragraph)
        if match:
            sections[match[1]] = " ".join(match[2].split())
    return Entry(name, env_id, " ".join(summary.split()), sections)


def _docstring(location: str) -> str:
    """Return the docstring of the class at "module:Class" from its source."""
    module, _, class_name = location.partition(":")
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise SimScaleError(f"cannot find module {module!r} of the registered task {location!r}")
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            return inspect.cleandoc(ast.get_docstring(node) or "")
    raise SimScaleError(f"no class {class_name!r} in {spec.origin}; the registered task is {location!r}")
