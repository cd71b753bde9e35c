"""The axis of the table's texture: procedural patterns of two colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.tabletop.perturbations.axes import Magnitudes, Scene, changes_model
from envs.tabletop.perturbations.colours import away_from_names, draw_colour
from envs.tabletop.simulation import TEXTURE
from envs.tabletop.variant.scene import TEXTURE_SIZE

Array = NDArray[np.float64]

_CONTRASTS: Magnitudes = (8, 16, 24, 32, 40)


@changes_model("table.texture", "dE", _CONTRASTS, limit=100)
def lay_pattern(scene: Scene, delta_e: float, stream: np.random.Generator) -> None:
    """Lays stripes, tiles, grain or blotches on the table, of its colour and a second one at this distance."""
    table = scene.model.material("table").rgba
    pattern = (_stripes, _tiles, _grain, _blotches)[int(stream.integers(4))](stream)
    second = draw_colour(scene, table[:3], delta_e, _CONTRASTS, away_from_names(scene), stream)
    colours = table[:3] + pattern[..., None] * (second - table[:3])
    scene.extra[TEXTURE] = np.round(255 * colours).astype(np.uint8).ravel()
    table[:3] = 1.0  # the texture has the colours


def _grid() -> tuple[Array, Array]:
    """Return the coordinates of the pixels along both edges of the table, 0 to 1."""
    line = (np.arange(TEXTURE_SIZE) + 0.5) / TEXTURE_SIZE
    x, y = np.meshgrid(line, line)
    return x, y


def _waves(stream: np.random.Generator, fewest: float, most: float) -> Array:
    """Return the phase of parallel waves in a random direction [periods]."""
    x, y = _grid()
    angle = stream.uniform(0, np.pi)
    return np.asarray(stream.uniform(fewest, most) * (np.cos(angle) * x + np.sin(angle) * y) + stream.uniform())


def _stripes(stream: np.random.Generator) -> Array:
    return (_waves(stream, 6, 16) % 1 < 0.5).astype(np.float64)


def _tiles(stream: np.random.Generator) -> Array:
    x, y = _grid()
    count = stream.integers(8, 18)
    return ((np.floor(count * x) + np.floor(count * y)) % 2).astype(np.float64)


def _grain(stream: np.random.Generator) -> Array:
    return 0.5 + 0.5 * np.sin(2 * np.pi * (_waves(stream, 6, 12) + 1.5 * _smooth_noise(stream, 5)))


def _blotches(stream: np.random.Generator) -> Array:
    return _smooth_noise(stream, int(stream.integers(8, 20)))


def _smooth_noise(stream: np.random.Generator, cells: int) -> Array:
    """Return noise from 0 to 1 that is smooth between `cells` × `cells` random values."""
    values = stream.uniform(size=(cells + 1, cells + 1))
    at = np.linspace(0, cells, TEXTURE_SIZE, endpoint=False)
    whole, part = at.astype(int), at % 1
    weight = part * part * (3 - 2 * part)
    rows = values[whole] + weight[:, None] * (values[whole + 1] - values[whole])
    noise = rows[:, whole] + weight * (rows[:, whole + 1] - rows[:, whole])
    return np.asarray((noise - noise.min()) / (noise.max() - noise.min()))
