"""Colours in frames of videos, for tests."""

import imageio.v3 as iio
import numpy as np

GREEN, RED, BLUE = (76, 195, 124), (240, 104, 96), (94, 177, 232)


def has_colour(picture, colour):
    return bool((np.abs(picture.astype(int) - colour).max(axis=-1) < 12).any())


def count_ticks(bar):
    """Returns how many blue ticks a caption bar has."""
    ticked = (np.abs(bar.astype(int) - BLUE).max(axis=-1) < 12).sum(axis=0) > 3
    return np.count_nonzero(np.diff(ticked.astype(int)) == 1)


def gif_frames(path):
    """Returns the frames of a GIF, (T, H, W, 3)."""
    return iio.imread(path, plugin="pillow", mode="RGB")
