"""Resizing of images as openpi does it: bilinear, without distortion, padded with black."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simscaleai.contract import ImageSize


def resize_with_pad(image: NDArray[np.uint8], size: ImageSize) -> NDArray[np.uint8]:
    """Return an image (height, width, 3) in another size, centred, with black around it if its shape is another one.

    Source: `openpi_client.image_tools.resize_with_pad`, whose pixels this function reproduces.
    """
    if image.shape[:2] == size:
        return image
    from PIL import Image

    (height, width), (old_height, old_width) = size, image.shape[:2]
    ratio = max(old_width / width, old_height / height)
    new_height, new_width = int(old_height / ratio), int(old_width / ratio)
    resized = Image.fromarray(image).resize((new_width, new_height), resample=Image.Resampling.BILINEAR)
    padded = np.zeros((height, width, 3), dtype=np.uint8)
    top, left = (height - new_height) // 2, (width - new_width) // 2
    padded[top : top + new_height, left : left + new_width] = np.asarray(resized)
    return padded
