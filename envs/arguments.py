"""Checks of what users hand to an environment; every refusal says what was expected and what came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from envs.interface import ACTION_DIM, CAMERAS, SimScaleError, UnknownChoiceError

MOST_PIXELS = 4096
"""Largest height and width of an image; GL draws hardly more anywhere."""


def check_choice(kind: str, value: object, choices: Sequence[object]) -> None:
    """Raise `UnknownChoiceError` unless `value` is one of `choices`."""
    if value not in choices:
        raise UnknownChoiceError(kind, value, choices)


def check_cameras(cameras: Sequence[str], image_size: tuple[int, int]) -> None:
    """Raise `SimScaleError` unless `cameras` are known names and `image_size` is a height and a width."""
    if isinstance(cameras, str):
        raise SimScaleError(f"cameras must be a sequence of names, for example ({cameras!r},), got a text")
    for camera in cameras:
        check_choice("camera", camera, CAMERAS)
    if len(image_size) != 2 or min(image_size) < 1 or max(image_size) > MOST_PIXELS:
        raise SimScaleError(f"image_size must be (height, width), each 1 to {MOST_PIXELS} px, got {image_size}")


def find_autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """Return the mode that `mode` is or names, as Gymnasium's own vector environments take it."""
    try:
        return AutoresetMode(mode)
    except ValueError as error:
        raise UnknownChoiceError("autoreset_mode", mode, [each.value for each in AutoresetMode]) from error


def check_actions(actions: NDArray[np.float32], num_envs: int) -> NDArray[np.float32]:
    """Return `actions` if they are a floating array of shape (num_envs, 4)."""
    expected = f"expected actions of shape ({num_envs}, {ACTION_DIM}) and a floating dtype"
    if not isinstance(actions, np.ndarray):
        raise SimScaleError(f"{expected}, got {type(actions).__name__}")
    if actions.shape != (num_envs, ACTION_DIM) or actions.dtype.kind != "f":
        raise SimScaleError(f"{expected}, got shape {actions.shape} and dtype {actions.dtype}")
    return actions


def check_mask(name: str, mask: NDArray[np.bool_], num_envs: int) -> NDArray[np.bool_]:
    """Return a copy of `mask` if it is a bool array of shape (num_envs,)."""
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,):
        came = f"shape {mask.shape} and dtype {mask.dtype}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise SimScaleError(f"{name} must be a bool array of shape ({num_envs},), got {came}")
    return mask.copy()


def per_slot_seeds(seed: int | Sequence[int | None] | None, num_envs: int) -> list[int | None]:
    """Return one seed per slot: s means s + i for slot i, None leaves a slot to its own stream."""
    if seed is None:
        return [None] * num_envs
    seeds = range(seed, seed + num_envs) if isinstance(seed, int | np.integer) else seed
    if not isinstance(seeds, Sequence) or len(seeds) != num_envs:
        raise SimScaleError(f"expected an int or {num_envs} seeds, one per slot, got {seed!r}")
    if any(each is not None and (not isinstance(each, int | np.integer) or each < 0) for each in seeds):
        raise SimScaleError(f"a seed must be an integer of at least 0 or None, got {seed!r}")
    return list(seeds)


def per_slot_options(options: Mapping[str, Any], num_envs: int) -> list[dict[str, Any]]:
    """Spread "target" and "instruction" over the slots: one for all, or a sequence with one per slot."""
    rows: list[dict[str, Any]] = [{} for _ in range(num_envs)]
    for name in ("target", "instruction"):
        value = options.get(name)
        if value is None:
            continue
        values = [value] * num_envs if isinstance(value, str) else value
        proper = isinstance(values, Sequence) and all(each is None or isinstance(each, str) for each in values)
        if not proper or len(values) != num_envs:
            raise SimScaleError(
                f"option {name!r} needs one text for all slots or {num_envs}, one per slot; got {value!r}"
            )
        for row, each in zip(rows, values, strict=True):
            row[name] = each
    return rows
