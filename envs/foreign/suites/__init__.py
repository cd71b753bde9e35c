"""Suites of environments that others publish. Each is one Python file, and one lock file with its packages.

A suite's file runs under Python 3.8 and imports its packages within `make`, since this process reads it, too. It has:

* `SUMMARY`: what it is, in one sentence;
* `PYTHONS`: versions of Python that it runs with, the best first;
* `PACKAGES`: packages whose versions decide the results;
* `REVISION`: a number that grows when a change of the file changes episodes;
* `TASKS`: name of each task to its instruction; the name "" if the suite is one task;
* `GROUPS`: name of each group to its tasks;
* `CHECKED`: task that is run when the suite is installed;
* `USUAL_SLOTS`: most slots that a run has by default;
* `make(task)`: returns an environment with the interface of Gymnasium, which may have `details` (see `host.describe`),
  `image(camera, size)`, and `raw_observation`, what policies in its interpreter get;
* `expert(task)`, if there is one: returns a policy with `act`, `get_action` or `predict`, for `--model host:expert`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from simscaleai.errors import UnknownNameError

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Suite:
    """What the file of a suite says."""

    name: str
    summary: str
    pythons: tuple[str, ...]
    packages: tuple[str, ...]
    revision: int
    tasks: Mapping[str, str]
    """Name of each task to its instruction."""
    groups: Mapping[str, tuple[str, ...]]
    """Name of each group to the names of its tasks."""
    checked: str
    """Name of the environment that is run when the suite is installed."""
    usual_slots: int
    """Most slots that a run has by default."""

    @property
    def file(self) -> Path:
        """The file of the suite."""
        return _FOLDER / f"{self.name}.py"

    @property
    def lock(self) -> Path:
        """The lock file of the suite."""
        return _FOLDER / f"{self.name}.txt"

    @property
    def environments(self) -> list[str]:
        """Full name of each environment."""
        return [f"{self.name}/{task}" if task else self.name for task in (*self.tasks, *self.groups)]


def suite_names() -> list[str]:
    """Return the names of all suites, whether installed or not."""
    return sorted(path.stem for path in _FOLDER.glob("*.txt"))


@lru_cache
def find_suite(name: str) -> Suite:
    """Return the suite `name`.

    Raises:
        UnknownNameError: If there is no such suite.
    """
    if name not in suite_names():
        raise UnknownNameError("suite", name, suite_names())
    module = importlib.import_module(f"{__name__}.{name}")
    return Suite(
        name=name,
        summary=module.SUMMARY,
        pythons=module.PYTHONS,
        packages=module.PACKAGES,
        revision=module.REVISION,
        tasks=module.TASKS,
        groups=getattr(module, "GROUPS", {}),
        checked=f"{name}/{module.CHECKED}" if module.CHECKED else name,
        usual_slots=module.USUAL_SLOTS,
    )
