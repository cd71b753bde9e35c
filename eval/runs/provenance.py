"""Where numbers come from: the machine, the libraries and the source that produced a run.

Runs with the same fingerprint give bit-identical results. With another fingerprint, numbers may differ in the last
digits, and then an episode may end differently.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from policies.learned.devices import Device, device_entries

PROJECT = Path(__file__).resolve().parents[2]
"""Folder that holds this project's packages."""

_PACKAGES = ("envs", "eval", "policies", "simscaleai")
_LIBRARIES = ("gymnasium", "mujoco", "numpy", "simscaleai", "torch")


@dataclass(frozen=True, kw_only=True)
class Source:
    """The git checkout with which the run was made."""

    commit: str | None
    """Git commit."""
    dirty: bool
    """Whether files of the checkout differed from the commit."""


def fingerprint(simulator: Mapping[str, Any], device: Device | None = None) -> dict[str, Any]:
    """Return what results depend on: CPU instruction set, system, library versions, and entries of the simulator.

    Args:
        simulator: Result of `SlotEnv.fingerprint`, for example with `gl_renderer`. Its `libraries` are added to those
            of this process; its other entries replace entries of the same name.
        device: Device of `--device`, where the policy computes.
    """
    return {
        "machine": platform.machine(),
        "cpu_features": _cpu_features(),
        "system": platform.system(),
        "python": platform.python_version(),
        "gl_renderer": None,
        **device_entries(device),
        **simulator,
        "libraries": {name: _version(name) for name in _LIBRARIES} | dict(simulator.get("libraries") or {}),
    }


def source_digest(project: Path = PROJECT) -> str:
    """Return the SHA-256 of the names and contents of all Python files of this project's packages."""
    digest = hashlib.sha256()
    for path in sorted(path for package in _PACKAGES for path in (project / package).rglob("*.py")):
        digest.update(f"{path.relative_to(project).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def source_state(project: Path = PROJECT, *, besides: Path | None = None) -> Source | None:
    """Return the git commit of the project and whether its files differ from the commit; None outside a checkout.

    Args:
        project: Root of the checkout.
        besides: File that is not compared, because it is being written; relative to the root.
    """
    top = _git(project, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != project.resolve():
        return None
    left_out = [] if besides is None else [f":(exclude){besides}"]
    changes = _git(project, "status", "--porcelain", "--", ".", *left_out)
    return Source(commit=_git(project, "rev-parse", "HEAD"), dirty=bool(changes))


def _cpu_features() -> list[str]:
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    return [*extensions["baseline"], *extensions["found"]]


@cache  # reading the metadata of a package takes a few milliseconds
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
