"""Draws the captions of videos: a bar below the picture, a line below a tile, a frame around a tile.

Nothing is drawn on the picture itself. Every colour comes with a word or a mark, so that colour is never the only sign.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

    Box = tuple[float, float, float, float]

Colour = tuple[int, int, int]

SUCCESS = "success"
"""Outcome of a successful episode. Every other outcome is the class of a failure."""

_GROUND, _TRACK, _PASSED = (20, 24, 30), (52, 59, 69), (112, 122, 134)
_TEXT, _MUTED, _LOOK = (236, 239, 242), (160, 169, 180), (94, 177, 232)
_GREEN, _RED = (76, 195, 124), (240, 104, 96)

_REFERENCE_HEIGHT = 480  # picture height that the lengths below refer to [px]
_BAR, _MARGIN, _STATUS_WIDTH = 58, 14, 188
_TITLE_SIZE, _STATUS_SIZE = 18, 15
_LINE, _LINE_SIZE = 0.12, 0.064  # height and font size of the line below a tile, as shares of the picture's height
_MOST_CHARACTERS = 1000  # of a text, more than fit in one line
_CORNER = 0.09  # side of the corner with the mark of a frame, as a share of the picture's height


@dataclass(frozen=True, kw_only=True)
class Caption:
    """Content of the bar below one picture."""

    title: str
    """Title, usually the instruction."""
    step: int
    """Control steps taken."""
    limit: int
    """Time limit in control steps, the full length of the time line."""
    looks: Sequence[int] = ()
    """Steps at which the policy was asked for a chunk of actions."""
    outcome: str | None = None
    """`SUCCESS`, or the class of the failure; None while the episode runs."""
    status: str = ""
    """Text beside the time line; by default the outcome, or the step while the episode runs."""


def with_caption(picture: NDArray[np.uint8], caption: Caption) -> NDArray[np.uint8]:
    """Return `picture` (H, W, 3) with a bar of height `bar_height(H)` below it."""
    height, width = picture.shape[:2]
    return np.vstack([picture, _draw_bar(caption, width, bar_height(height), height / _REFERENCE_HEIGHT)])


def bar_height(picture_height: int) -> int:
    """Return the height of the bar below a picture [px]. It is even, as video encoders require."""
    return 2 * max(1, round(_BAR * picture_height / _REFERENCE_HEIGHT / 2))


def with_line(picture: NDArray[np.uint8], words: str, outcome: str | None) -> NDArray[np.uint8]:
    """Return `picture` with one small line of `words` below it, in red if `outcome` is a failure."""
    from PIL import Image, ImageDraw

    height, width = picture.shape[:2]
    image = Image.new("RGB", (width, line_height(height)), _GROUND)
    font, margin = _font(_LINE_SIZE * height), 0.02 * width
    colour = _TEXT if outcome in (None, SUCCESS) else _RED
    text = _shortened(words, font, width - 2 * margin)
    ImageDraw.Draw(image).text((margin, image.height / 2), text, colour, font, anchor="lm")
    return np.vstack([picture, np.asarray(image)])


def line_height(picture_height: int) -> int:
    """Return the height of the line below a picture [px]. It is even, as video encoders require."""
    return 2 * max(1, round(_LINE * picture_height / 2))


GAP = 4
"""Gap between two pictures [px]."""


def side_by_side(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return pictures of the same height side by side, `GAP` px apart."""
    gap = np.empty((len(pictures[0]), GAP, 3), dtype=np.uint8)
    gap[:] = _GROUND
    parts = [part for picture in pictures for part in (gap, picture)][1:]
    return parts[0] if len(parts) == 1 else np.hstack(parts)


def with_frame(picture: NDArray[np.uint8], outcome: str | None, thickness: int) -> NDArray[np.uint8]:
    """Return `picture` with a frame around it.

    While the episode runs, the frame is dark. Afterwards it is green with a check mark or red with a cross in its upper
    right corner.

    Args:
        picture: The picture (H, W, 3).
        outcome: `SUCCESS`, or the class of the failure; None while the episode runs.
        thickness: Thickness of the frame [px].
    """
    from PIL import Image, ImageDraw

    height, width = picture.shape[:2]
    framed = Image.new("RGB", (width + 2 * thickness, height + 2 * thickness), _frame_colour(outcome))
    framed.paste(Image.fromarray(picture), (thickness, thickness))
    if outcome is not None:
        draw, corner = ImageDraw.Draw(framed), _CORNER * height
        right, scale = framed.width - 1, corner / 20
        draw.rectangle((right - thickness - corner, 0, right, thickness + corner), fill=_frame_colour(outcome))
        middle = (thickness + corner) / 2
        _draw_mark(draw, outcome, _GROUND, (right - middle, middle), scale)
    return np.asarray(framed)


def _frame_colour(outcome: str | None) -> Colour:
    return _GROUND if outcome is None else _colour(outcome)


def _colour(outcome: str | None) -> Colour:
    return _MUTED if outcome is None else _GREEN if outcome == SUCCESS else _RED


def _draw_bar(caption: Caption, width: int, height: int, scale: float) -> NDArray[np.uint8]:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (width, height), _GROUND)
    draw = ImageDraw.Draw(image)
    margin = _MARGIN * scale
    font = _font(_TITLE_SIZE * scale)
    title = _shortened(caption.title or "(no instruction)", font, width - 2 * margin)
    draw.text((margin, 0.32 * height), title, _TEXT if caption.title else _MUTED, font, anchor="lm")
    middle = 0.74 * height
    end = width - margin - _STATUS_WIDTH * scale
    _draw_time_line(draw, caption, (margin, middle - 5 * scale, end, middle + 5 * scale), scale)
    _draw_status(draw, caption, (end + margin, middle, width - margin, height), scale)
    return np.asarray(image)


def _draw_time_line(draw: ImageDraw, caption: Caption, box: Box, scale: float) -> None:
    """Draw the time from 0 to the limit, the time that has passed, and a tick for every step in `caption.looks`."""
    left, top, right, bottom = box
    pixels_per_step = (right - left) / max(caption.limit, caption.step, 1)
    middle, half, tick = (top + bottom) / 2, 1.5 * scale, max(1, round(min(2 * scale, pixels_per_step / 2)))
    draw.rectangle((left, middle - half, right, middle + half), fill=_TRACK)
    draw.rectangle((left, middle - half, left + pixels_per_step * caption.step, middle + half), fill=_PASSED)
    for look in caption.looks:
        x = round(left + pixels_per_step * look)
        draw.rectangle((x, top, x + tick - 1, bottom), fill=_LOOK)


def _draw_status(draw: ImageDraw, caption: Caption, box: Box, scale: float) -> None:
    """Draw the status text at the right end of `box`, after the mark of the outcome if `caption` has one."""
    left, middle, right, _ = box
    font = _font(_STATUS_SIZE * scale)
    mark = 0.0 if caption.outcome is None else 24 * scale
    words = _status_words(caption, font, right - left - mark)
    draw.text((right, middle), words, _colour(caption.outcome), font, anchor="rm")
    if caption.outcome is not None:
        centre = right - font.getlength(words) - 14 * scale, middle
        _draw_mark(draw, caption.outcome, _colour(caption.outcome), centre, scale)


def _status_words(caption: Caption, font: Any, width: float) -> str:
    if caption.status or caption.outcome is None:
        steps = f"{caption.step} / {caption.limit}" if caption.limit else f"step {caption.step}"
        return _shortened(caption.status or steps, font, width)
    outcome = caption.outcome.replace("_", " ")
    with_step = f"{outcome}, step {caption.step}"
    return with_step if font.getlength(with_step) <= width else _shortened(outcome, font, width)


def _draw_mark(draw: ImageDraw, outcome: str, colour: Colour, centre: tuple[float, float], scale: float) -> None:
    """Draw a check mark or a cross, which the font lacks."""
    x, y, r = *centre, 5.5 * scale
    strokes = [[(x - r, y), (x - 0.3 * r, y + 0.7 * r), (x + r, y - 0.8 * r)]]
    if outcome != SUCCESS:
        r *= 0.8
        strokes = [[(x - r, y - r), (x + r, y + r)], [(x - r, y + r), (x + r, y - r)]]
    for stroke in strokes:
        draw.line(stroke, fill=colour, width=max(1, round(2.4 * scale)), joint="curve")


@lru_cache(maxsize=8)
def _font(size: float) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(max(1.0, size))


def _shortened(text: str, font: Any, width: float) -> str:
    """Return `text` on one line, cut so that it is at most `width` [px] wide."""
    text = " ".join(text[:_MOST_CHARACTERS].split())
    if font.getlength(text) <= width:
        return text
    lengths = range(1, len(text) + 1)
    fitting = bisect_right(lengths, width, key=lambda length: font.getlength(f"{text[:length]}…"))
    return f"{text[:fitting].rstrip()}…"
