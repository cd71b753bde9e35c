"""`lerobot:FOLDER`: a checkpoint of LeRobot. Its inputs have LeRobot's names, as our export of datasets writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policies.foreign.libraries import Fit, Library
from simscaleai.contract import EnvSpec, ImageSize, Layout, Needs
from simscaleai.errors import MismatchError, SimScaleError
from simscaleai.files import read_file

_PLACES = ("", "pretrained_model", "checkpoints/last/pretrained_model")
"""Where a checkpoint lies below the folder that a user names."""

_FILES = ("model.safetensors", "policy_preprocessor.json", "policy_postprocessor.json")
_MOST_BYTES = 1 << 24
"""Largest `config.json` that is read."""
_PREFIX, _IMAGES = "observation.", "images."
_OTHER_NAMES = {"state": "agent_pos", "image": "pixels"}
"""Input of a policy to the name that environments of Gymnasium use instead."""


def locate(place: str) -> Path:
    """Return the folder of the checkpoint that the user names, also by the output folder of `lerobot-train`.

    Raises:
        SimScaleError: If it holds no complete checkpoint.
    """
    folder = _checkpoint(Path(place).expanduser())
    if folder is None:
        raise SimScaleError(
            f"expected a folder with a checkpoint of LeRobot, whose config.json names the policy, got {place}"
        )
    lacking = [name for name in _FILES if not (folder / name).is_file()]
    if lacking:
        old = "; checkpoints of LeRobot before 0.4 have no processors: convert them with its migration script"
        raise SimScaleError(f"the checkpoint {folder} lacks {', '.join(lacking)}{old if len(lacking) == 2 else ''}")
    return folder


def _checkpoint(folder: Path) -> Path | None:
    """Return the folder of the checkpoint at or below `folder`; None if there is none."""
    return next((folder / each for each in _PLACES if _policy_type(folder / each)), None)


def _policy_type(folder: Path) -> str:
    """Return the type of the policy in `folder`; "" if there is none."""
    try:
        config = json.loads(read_file(folder / "config.json", _MOST_BYTES))
        return str(config["type"])
    except (SimScaleError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def fit(facts: Mapping[str, Any], spec: EnvSpec) -> Fit:
    """Return how the policy fits the environment that `spec` describes.

    Raises:
        MismatchError: If the environment lacks an input, or has one of another size, or actions of another size.
    """
    keys: dict[str, str] = {}
    vectors: dict[str, Layout] = {}
    cameras: dict[str, ImageSize] = {}
    problems = []
    for name, (kind, shape) in facts["inputs"].items():
        there = spec.cameras if kind == "VISUAL" else spec.vectors
        key = _key(name, there)
        problem = _difference(name, kind, shape, key, spec)
        if problem:
            problems.append(problem)
            continue
        keys[name] = key
        if kind == "VISUAL":
            cameras[key] = (shape[1], shape[2])
        else:
            vectors[key] = spec.vectors[key]
    if facts["action_size"] != spec.action.size:
        problems.append(f"action: policy {facts['action_size']} numbers, environment {spec.action.size}")
    if problems:
        raise MismatchError(problems)
    needs = Needs(vectors=vectors, cameras=cameras, instruction=facts["reads_instruction"])
    return Fit(needs=needs, keys=keys, options={"n_action_steps": facts["n_action_steps"]})


def _key(name: str, there: Mapping[str, Any]) -> str:
    """Return the key of the observation for the input `name`, which may be missing in `there`."""
    own = name.removeprefix(_PREFIX).removeprefix(_IMAGES)
    return own if own in there else _OTHER_NAMES.get(own, own)


def _difference(name: str, kind: str, shape: list[int], key: str, spec: EnvSpec) -> str:
    """Return in one line why the environment does not offer an input; "" if it offers it."""
    if kind == "VISUAL":
        if key not in spec.cameras:
            return f"{name}: environment has {', '.join(spec.cameras) or 'no camera'}"
        size = spec.cameras[key]
        if shape[0] != 3 or size not in (None, (shape[1], shape[2])):
            return f"{name}: policy {shape[1]}x{shape[2]} px with {shape[0]} channels, environment {size} px with 3"
        return ""
    if key not in spec.vectors:
        return f"{name}: environment has {', '.join(spec.vectors) or 'no vector'}"
    layout = spec.vectors[key]
    return "" if shape == [layout.size] else f"{name}: policy {shape} numbers, environment {layout.size}: {layout}"


LIBRARY = Library(
    name="lerobot",
    summary="policies of LeRobot: --model lerobot:FOLDER",
    module="lerobot",
    pythons=("3.12", "3.13"),
    options={"device": "cpu"},
    locate=locate,
    recognises=lambda place: _checkpoint(place) is not None,
    fit=fit,
)
