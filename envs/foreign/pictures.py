"""Pictures of environments of others, fitted to the size of a film."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fitted(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return `picture` (h, w, 3) scaled to the largest that fits into (height, width) `size`, on a black ground."""
    from PIL import Image

    height, width = size
    scale = min(height / picture.shape[0], width / picture.shape[1])
    inner = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    scaled = np.asarray(Image.fromarray(picture).resize(inner, Image.Resampling.BILINEAR))
    framed = np.zeros((height, width, 3), dtype=np.uint8)
    top, left = (height - inner[1]) // 2, (width - inner[0]) // 2
    framed[top : top + inner[1], left : left + inner[0]] = scaled
    return framed
