"""Where numbers come from: the machine, the libraries and the source that produced a run.

The fingerprint is what results are bit-identical on; a run on another one may differ in the last digits, and a robot
policy turns last digits into other outcomes.
"""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.base import Policy

if TYPE_CHECKING:
    from envs.vector_env import TaskVectorEnv

_LIBRARIES = ("gymnasium", "mujoco", "numpy", "simscaleai", "torch")


def fingerprint(gl_renderer: str | None) -> dict[str, Any]:
    """Return instruction set, library versions and GL renderer of this process.

    Args:
        gl_renderer: The GL driver's own name for what draws the policy's images; None if it sees none.
    """
    return {
        "machine": platform.machine(),
        "cpu_features": _cpu_features(),
        "system": platform.system(),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "gl_renderer": gl_renderer,
    }


def gl_renderer(env: TaskVectorEnv) -> str | None:
    """Return the GL driver's own name for what draws the images of `env`; None if it has no camera."""
    if not env.contract.cameras:
        return None
    from envs.rendering import renderer_name

    env.render_images(np.zeros(env.num_envs, dtype=bool))  # makes sure that there is a GL context
    return renderer_name()


def source_state(*, besides: Path | None = None) -> dict[str, Any] | None:
    """Return the git commit of the project and whether its files differ from it; None outside a checkout.

    Args:
        besides: A file of the project that may differ, because it is being written; relative to its folder.
    """
    root = Path(__file__).resolve().parent.parent
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root:
        return None
    left_out = [] if besides is None else [f":(exclude){besides}"]
    changes = _git(root, "status", "--porcelain", "--", ".", *left_out)
    return {"commit": _git(root, "rev-parse", "HEAD"), "dirty": bool(changes)}


def checkpoint_digest(policy: Policy) -> str | None:
    """Return the digest of the weights that `policy` was made from; None if it has none."""
    checkpoint = getattr(policy, "checkpoint", None)  # only learned policies have one
    return None if checkpoint is None else str(checkpoint.digest)


def _cpu_features() -> list[str]:
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]
    return [*extensions["baseline"], *extensions["found"]]


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
