"""Sizes and depths of images of other projects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simscaleai.contract import MAX_IMAGE_SIDE, ImageSize


class DeepImagesError(ValueError):
    """Images whose pixels have more than 8 bits, such as depth images: 8 bits would flatten them."""

    def __init__(self, pixels: str) -> None:
        """Name the kind of `pixels`."""
        super().__init__(f"its pixels are {pixels}, more than the 8 bits of a colour image")


def scaled(pixels: NDArray[np.uint8], size: ImageSize | None) -> NDArray[np.uint8]:
    """Return the colour image `pixels` (H, W, 3), scaled to `size` (height, width) if given."""
    if size is None or pixels.shape[:2] == size:
        return pixels
    import PIL.Image

    image = PIL.Image.fromarray(pixels).resize(size[::-1], PIL.Image.Resampling.BILINEAR)
    return np.asarray(image, np.uint8)


def check_size(height: int, width: int) -> None:
    """Raise `ValueError` if an image is larger than this project allows. A small file may claim a huge image."""
    if not 0 < max(height, width) <= MAX_IMAGE_SIDE:
        raise ValueError(f"expected an image of at most {MAX_IMAGE_SIDE} px a side, got {height}×{width}")
