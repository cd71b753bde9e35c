"""`sb3:FILE.zip`: an agent of Stable-Baselines3."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from policies.foreign.libraries import Fit, Library
from simscaleai.contract import EnvSpec, Needs
from simscaleai.errors import MismatchError, SimScaleError

_WHOLE = ""
"""Name of the observation of an agent that does not take a dictionary."""


def locate(place: str) -> Path:
    """Return the file of the agent; Stable-Baselines3 adds `.zip` to a name without it.

    Raises:
        SimScaleError: If there is none.
    """
    file = Path(place).expanduser()
    for candidate in (file, file.with_name(f"{file.name}.zip")):
        if candidate.is_file():
            return candidate
    raise SimScaleError(f"expected the file of an agent of Stable-Baselines3, as agent.save writes it, got {place}")


def recognises(place: Path) -> bool:
    """Return whether `place` is the file of an agent."""
    try:
        with zipfile.ZipFile(place) as archive:
            return {"data", "policy.pth"} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def fit(facts: Mapping[str, Any], spec: EnvSpec) -> Fit:
    """Return how the agent fits the environment that `spec` describes: by the keys of its observation, or its shape.

    Raises:
        MismatchError: If the environment lacks a part of the observation, or has other actions.
    """
    problems, keys = [], {}
    for name, (shape, dtype) in facts["inputs"].items():
        fitting = _of_shape(shape, dtype, spec)
        if name == _WHOLE:
            fitting = [key for key in fitting if key not in _privileged(spec)] or fitting
        if name in fitting or (name == _WHOLE and len(fitting) == 1):
            keys[name] = name or fitting[0]
        else:
            what = f"observation {name!r}" if name else "observation"
            offered = _offered(spec) if len(fitting) < 2 else f"several: {', '.join(fitting)}"
            problems.append(f"{what}: policy {dtype} of shape {tuple(shape)}, environment {offered}")
    for name, theirs, ours in (("low", facts["low"], spec.action.low), ("high", facts["high"], spec.action.high)):
        if len(theirs) != len(ours) or not np.allclose(theirs, ours):
            problems.append(f"{name}est actions: policy {_short(theirs)}, environment {_short(ours)}")
    if problems:
        raise MismatchError(problems)
    vectors = {key: spec.vectors[key] for key in keys.values() if key in spec.vectors}
    shapes = {key: facts["inputs"][name][0] for name, key in keys.items() if key in spec.cameras}
    cameras = {key: _height_and_width(shape) for key, shape in shapes.items()}
    return Fit(needs=Needs(vectors=vectors, cameras=cameras), keys=keys)


def _of_shape(shape: list[int], dtype: str, spec: EnvSpec) -> list[str]:
    """Return the keys of the observations of this shape."""
    if dtype == "uint8" and len(shape) == 3:
        return [key for key, size in spec.cameras.items() if size in (None, _height_and_width(shape))]
    size = int(np.prod(shape))
    return [key for key, layout in spec.vectors.items() if layout.size == size]


def _privileged(spec: EnvSpec) -> list[str]:
    return [key for key, layout in spec.vectors.items() if layout.privileged]


def _height_and_width(shape: list[int]) -> tuple[int, int]:
    """Return height and width of images whose channels are first or last."""
    return (shape[1], shape[2]) if shape[0] in (1, 3, 4) else (shape[0], shape[1])


def _offered(spec: EnvSpec) -> str:
    vectors = [f"{key} of {layout.size} numbers" for key, layout in spec.vectors.items()]
    return ", ".join([*vectors, *(f"camera {key}" for key in spec.cameras)]) or "none"


def _short(numbers: Any) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


LIBRARY = Library(
    name="sb3",
    summary="agents of Stable-Baselines3 (PPO, A2C, SAC, TD3, DDPG): --model sb3:FILE.zip",
    module="stable_baselines3",
    pythons=("3.11", "3.12", "3.13"),
    options={"device": "cpu", "deterministic": True, "vec_normalize": ""},
    locate=locate,
    recognises=recognises,
    fit=fit,
    file_options=("vec_normalize",),
)
