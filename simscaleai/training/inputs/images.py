"""Converts images on the device: random shifts, and uint8 to float."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_NUMPY_TYPES = {torch.uint8: np.uint8, torch.float32: np.float32}


def shifted(images: Tensor, corners: Tensor, most: int) -> Tensor:
    """Return `images`, each moved by up to `most` pixels per axis, with repeated borders.

    Source: Kostrikov et al. (2021), Image Augmentation Is All You Need: pad by repeating, then crop at random.

    Args:
        images: (B, C, H, W, 3).
        corners: Row and column of the crop's top left corner in the padded image, from 0 to 2 · `most`, int64
            (B, C, 2).
        most: Width of the padding [px].
    """
    batch_size, cameras, height, width, channels = images.shape
    padded = _padded(_padded(images, 2, most), 3, most)
    by_image, by_camera, by_row, by_column, _ = padded.stride()
    places = 2 * most + 1
    crops = padded.as_strided(
        (batch_size, cameras, places, places, height, width * channels),
        (by_image, by_camera, by_row, by_column, by_row, 1),
    )
    rows = torch.arange(batch_size, device=images.device)[:, None]
    chosen = crops[rows, torch.arange(cameras, device=images.device), corners[..., 0], corners[..., 1]]
    return chosen.view(images.shape)


def to_float(images: Tensor) -> Tensor:
    """Return uint8 `images` (B, C, H, W, 3) as float32 (B, C, 3, H, W) in [0, 1], as `Processor.observations` does."""
    batch_size, cameras, height, width, channels = images.shape
    pixels = empty((batch_size, cameras, channels, height, width), torch.float32, images.device)
    pixels.copy_(images.permute(0, 1, 4, 2, 3).contiguous())
    # CUDA multiplies by the rounded reciprocal of a Python number, but divides by a tensor.
    pixels.div_(torch.full((), 255.0, device=images.device))
    return pixels


def _padded(images: Tensor, dim: int, most: int) -> Tensor:
    first, last = images.narrow(dim, 0, 1), images.narrow(dim, images.shape[dim] - 1, 1)
    sizes = [most if axis == dim else -1 for axis in range(images.ndim)]
    return torch.cat([first.expand(sizes), images, last.expand(sizes)], dim)


def empty(
    shape: tuple[int, ...], dtype: torch.dtype, device: torch.device | None = None, *, pinned: bool = False
) -> Tensor:
    """Return an uninitialised tensor. In ordinary memory NumPy makes it, whose huge pages are filled twice as fast.

    Args:
        shape: Shape of the tensor.
        dtype: Type of its entries.
        device: Its device; the CPU by default.
        pinned: Whether it lies in page-locked memory, from which a GPU copies while the CPU goes on.
    """
    if pinned or (device is not None and device.type != "cpu"):
        return torch.empty(shape, dtype=dtype, device=device, pin_memory=pinned)
    return torch.from_numpy(np.empty(shape, _NUMPY_TYPES[dtype]))
