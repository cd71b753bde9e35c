"""Draws contact sheets: the first frames of every environment, or of one environment under each perturbation."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from envs.registration import Registration
from envs.slots import SlotEnv, Start
from simscaleai.contract import EnvSpec, Needs
from simscaleai.errors import SimScaleError
from simscaleai.files import check_folder, replace_file
from simscaleai.perturbation import LEVELS, Axis

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

_SEEDS = 3  # number of seeds shown with the first film camera; the other cameras show the first seed only
_TILE, _GAP, _HEADING, _LABEL = 256, 8, 44, 26
_ROW = _HEADING + _TILE + _LABEL
_PAPER, _INK, _MUTED = (250, 250, 248), (28, 32, 38), (110, 118, 128)

View = tuple[str, int]
"""Camera and seed."""


def save_contact_sheet(path: Path, environments: Sequence[Registration]) -> None:
    """Write a PNG with the first frames of `environments`, one row for each. Missing folders are created.

    Environments without film cameras are left out.

    Raises:
        SimScaleError: If this machine cannot render, or the file cannot be written.
        OSError: If the folder cannot be created.
    """
    check_folder(path.parent)
    rows = [(registration, spec) for registration in environments if (spec := registration.offer()).film_cameras]
    columns = max(len(_views(spec)) for _, spec in rows)
    sheet = _new_sheet(_GAP + columns * (_TILE + _GAP), len(rows) * _ROW + _GAP)
    for row, (registration, spec) in enumerate(rows):
        _draw_row(sheet, row * _ROW, registration, _views(spec))
    _save(sheet, path)


def save_perturbation_sheet(path: Path, registration: Registration, camera: str, seed: int = 0) -> None:
    """Write a PNG with the first frame of an episode at the levels 0 to 5 of each axis of the scene, a row per axis.

    Args:
        path: File to write. Missing folders are created.
        registration: The environment.
        camera: Film camera.
        seed: Seed of the episode.

    Raises:
        SimScaleError: If the environment has no axes, this machine cannot render, or the file cannot be written.
        UnknownNameError: If the environment has no such camera.
        OSError: If the folder cannot be created.
    """
    check_folder(path.parent)
    axes = registration.offer().axes
    if not axes:
        raise SimScaleError(f"the environment {registration.name!r} offers no perturbations of its scene")
    sheet = _new_sheet(_GAP + len(LEVELS) * (_TILE + _GAP), len(axes) * _ROW + _GAP)
    env = registration.make(1, Needs(), True, None)
    for row, axis in enumerate(axes):
        _draw_levels(sheet, row * _ROW, env, axis, camera, seed)
    env.close()
    _save(sheet, path)


def _draw_levels(sheet: Image, top: int, env: SlotEnv, axis: Axis, camera: str, seed: int) -> None:
    """Draw the row of one axis."""
    from PIL import Image, ImageDraw

    draw = ImageDraw.Draw(sheet)
    end = _write(draw, (_GAP, top + 12), axis.name, 21, _INK)
    _write(draw, (end + 14, top + 17), axis.summary, 15, _MUTED)
    for level in LEVELS:
        left, magnitude = _GAP + level * (_TILE + _GAP), axis.magnitude(level)
        env.reset(np.arange(1), [Start(seed, {"perturbation": {axis.name: magnitude}})])
        sheet.paste(Image.fromarray(env.frame(0, camera, (_TILE, _TILE))), (left, top + _HEADING))
        _write(draw, (left, top + _HEADING + _TILE + 4), f"level {level}: {magnitude:g} {axis.unit}", 13, _MUTED)


def _save(sheet: Image, path: Path) -> None:
    png = io.BytesIO()
    sheet.save(png, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, png.getvalue())


def _views(spec: EnvSpec) -> list[View]:
    first, *others = spec.film_cameras
    return [*((first, seed) for seed in range(_SEEDS)), *((camera, 0) for camera in others)]


def _new_sheet(width: int, height: int) -> Image:
    from PIL import Image

    return Image.new("RGB", (width, height), _PAPER)


def _draw_row(sheet: Image, top: int, registration: Registration, views: Sequence[View]) -> None:
    from PIL import Image, ImageDraw

    instruction, frames = _first_frames(registration, views)
    draw = ImageDraw.Draw(sheet)
    _write_heading(draw, top, registration, instruction)
    for column, ((camera, seed), frame) in enumerate(zip(views, frames, strict=True)):
        left = _GAP + column * (_TILE + _GAP)
        sheet.paste(Image.fromarray(frame), (left, top + _HEADING))
        _write(draw, (left, top + _HEADING + _TILE + 4), f"{camera}, seed {seed}", 13, _MUTED)


def _first_frames(registration: Registration, views: Sequence[View]) -> tuple[str, list[NDArray[np.uint8]]]:
    """Return the instruction of the first seed, and the first frame of each view."""
    env = registration.make(_SEEDS, Needs(), True, None)
    begun = env.reset(np.arange(_SEEDS), [Start(seed) for seed in range(_SEEDS)])
    frames = [env.frame(seed, camera, (_TILE, _TILE)) for camera, seed in views]
    env.close()
    return begun[0].instruction, frames


def _write_heading(draw: ImageDraw, top: int, registration: Registration, instruction: str) -> None:
    end = _write(draw, (_GAP, top + 12), registration.name, 21, _INK)
    end = _write(draw, (end + 14, top + 17), registration.env_id, 15, _MUTED)
    if instruction:
        _write(draw, (end + 14, top + 17), f"“{instruction}”", 15, _INK)


def _write(draw: ImageDraw, place: tuple[float, float], text: str, size: int, colour: tuple[int, int, int]) -> float:
    """Write `text` with its upper left corner at `place`; return the x coordinate of its end [px]."""
    from PIL import ImageFont

    font = ImageFont.load_default(size)
    draw.text(place, text, colour, font)
    return place[0] + font.getlength(text)
