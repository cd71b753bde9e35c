"""`lerobot:FOLDER`: a checkpoint of LeRobot. Its inputs have LeRobot's names, as our export of datasets writes them."""

from __future__ import annotations

import json
import re
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
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
"""Name of a repository on the hub: owner/name."""
_OTHER_NAMES = {"state": "agent_pos", "image": "pixels"}
"""Input of a policy to the name that environments of Gymnasium use instead."""


def locate(place: str) -> Path:
    """Return the folder of the checkpoint that the user names, also by the output folder of `lerobot-train`.

    Raises:
        SimScaleError: If it holds no complete checkpoint.
    """
    folder = _checkpoint(Path(place).expanduser())
    if folder is None:
        raise SimScaleError(f"expected a folder with a checkpoint of LeRobot, got {place}{_reason(place)}")
    lacking = [name for name in _FILES if not (folder / name).is_file()]
    if lacking:
        old = "; checkpoints of LeRobot before 0.4 have no processors: convert them with its migration script"
        raise SimScaleError(f"the checkpoint {folder} lacks {', '.join(lacking)}{old if len(lacking) == 2 else ''}")
    return folder


def _reason(place: str) -> str:
    """Return why there is no checkpoint at `place`, and what to do."""
    folder = Path(place).expanduser()
    if folder.is_dir():
        found = next((path.name for path in sorted(folder.glob("*")) if _checkpoint(path)), None)
        if found:
            return f", which holds none itself; name one of its folders, such as {found!r}"
        return ", without a config.json that names the type of the policy"
    if folder.exists():
        return ", which is a file; name its folder"
    on_hub = f"; for a policy on the hub: hf download {place} --local-dir FOLDER" if _HUB_ID.fullmatch(place) else ""
    return f", which does not exist{on_hub}"


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
            offered = "any size" if size is None else f"{size[0]}x{size[1]} px"
            return f"{name}: policy {shape[1]}x{shape[2]} px with {shape[0]} channels, environment {offered} with 3"
        return ""
    if key not in spec.vectors:
        return f"{name}: environment has {', '.join(spec.vectors) or 'no vector'}"
    layout = spec.vectors[key]
    wanted = "x".join(map(str, shape))
    return "" if shape == [layout.size] else f"{name}: policy {wanted} numbers, environment {layout.size}: {layout}"


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
