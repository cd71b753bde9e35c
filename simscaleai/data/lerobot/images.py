"""Lossless conversion of colour images to PNG and back."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
from numpy.typing import NDArray

from simscaleai.data.exchange.pixels import DeepImagesError, check_size, scaled
from simscaleai.data.lerobot.layout import IMAGE_TYPE

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")  # Pillow knows others, some of which run programs
_PNG_BIT_DEPTH = 24  # offset in a PNG file of the byte that holds the bits per channel
_FASTEST = 1  # zlib level: encodes twice as fast as the default, and files are a fifth larger


def encode_images(images: NDArray[np.uint8], name: str) -> pa.Array:
    """Return `images` (T, H, W, 3) as a column of PNG files, called `name`-000000.png and so on."""
    rows = [
        {"bytes": _to_png(image), "path": f"{name}-{number:06d}.png"} for number, image in enumerate(np.asarray(images))
    ]
    return pa.array(rows, IMAGE_TYPE)


def decode_images(column: pa.ChunkedArray, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Return the images in `column` as an array (T, H, W, 3), scaled to `size` (height, width) if given.

    Raises:
        ValueError: If an image is not embedded in the file, is too large, differs in size from the others, or has
            pixels of more than 8 bits. Pillow raises further exceptions for damaged images.
    """
    return np.stack([_decode(row, size) for row in column.to_pylist()])


def _to_png(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.ascontiguousarray(image)).save(buffer, "PNG", compress_level=_FASTEST)
    return buffer.getvalue()


def _decode(row: dict[str, Any] | None, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    if not row or row.get("bytes") is None:
        raise ValueError("an image is not embedded in the Parquet file")
    data = row["bytes"]
    with PIL.Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        check_size(image.height, image.width)
        # Pillow reads colours of 16 bits as 8 bits, without a word.
        if image.format == "PNG" and data[_PNG_BIT_DEPTH] > 8:
            raise DeepImagesError(f"{data[_PNG_BIT_DEPTH]} bits deep")
        return scaled(np.asarray(image.convert("RGB"), np.uint8), size)
