"""A contact sheet: how every environment looks at the beginning of some episodes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from envs.interface import CAMERAS
from envs.rendering import OVERVIEW

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

_VIEWS = (*((OVERVIEW, seed) for seed in range(3)), *((camera, 0) for camera in CAMERAS))
"""Camera and seed of each column."""

_TILE, _GAP, _HEADING, _LABEL = 256, 8, 44, 26
_PAPER, _INK, _MUTED = (250, 250, 248), (28, 32, 38), (110, 118, 128)


def save_contact_sheet(path: Path, environments: dict[str, str]) -> None:
    """Draw first frames of `environments` (short name to id), one row each, into the PNG `path`.

    The file appears when it is complete; its folder is created.

    Raises:
        SimScaleError: If nothing can be rendered here.
        OSError: If the file cannot be written.
    """
    from PIL import Image, ImageDraw

    row_height = _HEADING + _TILE + _LABEL
    width = _GAP + len(_VIEWS) * (_TILE + _GAP)
    sheet = Image.new("RGB", (width, len(environments) * row_height + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, (name, env_id) in enumerate(environments.items()):
        instruction, frames = _first_frames(env_id)
        top = row * row_height
        _write_heading(draw, top, name, env_id, instruction)
        for column, ((camera, seed), frame) in enumerate(zip(_VIEWS, frames, strict=True)):
            left = _GAP + column * (_TILE + _GAP)
            sheet.paste(Image.fromarray(frame), (left, top + _HEADING))
            _write(draw, (left, top + _HEADING + _TILE + 4), f"{camera}, seed {seed}", 13, _MUTED)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".partial-{path.name}")
    sheet.save(temporary, "PNG")
    os.replace(temporary, path)


def _first_frames(env_id: str) -> tuple[str, list[NDArray[np.uint8]]]:
    """Return the instruction of the first seed and the frame of each view."""
    from envs.vector_env import TaskVectorEnv

    seeds = sorted({seed for _, seed in _VIEWS})
    env = TaskVectorEnv(env_id, len(seeds), num_threads=1)
    _, info = env.reset(seed=seeds)
    frames = [env.render_frame(seeds.index(seed), camera=camera, size=(_TILE, _TILE)) for camera, seed in _VIEWS]
    env.close()
    return str(info["instruction"][0]), frames


def _write_heading(draw: ImageDraw, top: int, name: str, env_id: str, instruction: str) -> None:
    end = _write(draw, (_GAP, top + 12), name, 21, _INK)
    end = _write(draw, (end + 14, top + 17), env_id, 15, _MUTED)
    _write(draw, (end + 14, top + 17), f"“{instruction}”", 15, _INK)


def _write(draw: ImageDraw, place: tuple[float, float], text: str, size: int, colour: tuple[int, int, int]) -> float:
    """Write `text` with its upper left corner at `place` and return where it ends."""
    from PIL import ImageFont

    font = ImageFont.load_default(size)
    draw.text(place, text, colour, font)
    return place[0] + font.getlength(text)
