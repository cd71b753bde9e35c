"""Corruptions of images, each with a physical magnitude. They work for images of any size.

A corruption is a function of images (n, height, width, 3) uint8, a magnitude, and the random stream of its axis in the
episode. Its images are new arrays of the same shape.

The kinds and orders of magnitude follow Hendrycks, Dietterich 2019, Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations. Their blurs are for images of 224 px, so those here are smaller.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from simscaleai.perturbation import Axis
from simscaleai.srgb import from_light, to_light

Images = NDArray[np.uint8]
"""Images of one camera in one episode, shape (n, height, width, 3)."""

_TAILS = 4.0
"""Radius of the kernel of a blur in standard deviations."""


def blur(images: Images, deviation: float, stream: np.random.Generator) -> Images:
    """Blur with a Gaussian of standard deviation `deviation` [px]; the edge pixels continue outside of the image."""
    radius = ceil(_TAILS * deviation)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / deviation) ** 2)
    blurred = images.astype(np.float64)
    for axis in (1, 2):
        blurred = _convolved(blurred, kernel / kernel.sum(), axis)
    return _to_pixels(blurred)


def add_noise(images: Images, percent: float, stream: np.random.Generator) -> Images:
    """Add Gaussian noise, independent for every number, with a standard deviation of `percent` % of full white."""
    return _to_pixels(images + stream.normal(0.0, 2.55 * percent, images.shape))


def compress(images: Images, lost: float, stream: np.random.Generator) -> Images:
    """Compress and decompress as JPEG with the quality 100 − `lost`."""
    return np.stack([_compressed(image, max(1, round(100 - lost))) for image in images])


def expose(images: Images, stops: float, stream: np.random.Generator) -> Images:
    """Multiply the light by 2 to the power of `stops`, and clip it. Pixels are taken as sRGB."""
    light = np.minimum(to_light(np.arange(256) / 255) * 2.0**stops, 1.0)
    return _to_pixels(255 * from_light(light))[images]


def reduce_contrast(images: Images, percent: float, stream: np.random.Generator) -> Images:
    """Bring every pixel nearer to the mean colour of its image, by `percent` % of the difference."""
    mean = images.mean(axis=(1, 2), keepdims=True)
    return _to_pixels(mean + (1 - percent / 100) * (images - mean))


def occlude(images: Images, percent: float, stream: np.random.Generator) -> Images:
    """Cover `percent` % of the picture with a black rectangle of the picture's shape, in the same place in all images.

    The stream draws the place.
    """
    height, width = images.shape[1:3]
    side = np.sqrt(percent / 100)
    tall, wide = round(side * height), round(side * width)
    top, left = stream.integers(height - tall + 1), stream.integers(width - wide + 1)
    covered = images.copy()
    covered[:, top : top + tall, left : left + wide] = 0
    return covered


@dataclass(frozen=True)
class Corruption:
    """An axis of images, and the function that carries it out."""

    axis: Axis
    apply: Callable[[Images, float, np.random.Generator], Images]
    """The function."""
    is_constant: bool = False
    """Whether all images of an episode get the same draw from the stream."""


def _axis(
    name: str,
    unit: str,
    magnitudes: tuple[float, float, float, float, float],
    summary: str,
    *,
    limit: float,
    is_signed: bool = False,
) -> Axis:
    return Axis(
        name=f"image.{name}",
        unit=unit,
        magnitudes=magnitudes,
        changes="observation",
        is_signed=is_signed,
        summary=summary,
        limit=limit,
    )


CORRUPTIONS = (
    Corruption(
        _axis(
            "brightness",
            "stop",
            (0.5, 1, 1.5, 2, 2.5),
            "Exposes images longer or shorter: one stop doubles or halves the light.",
            limit=8,
            is_signed=True,
        ),
        expose,
    ),
    Corruption(
        _axis("contrast", "%", (20, 40, 60, 75, 90), "Lowers the contrast of images by this share.", limit=100),
        reduce_contrast,
    ),
    Corruption(
        _axis("occlusion", "%", (5, 10, 20, 30, 40), "Covers this share of the picture in black.", limit=100),
        occlude,
        is_constant=True,
    ),
    Corruption(
        _axis("blur", "px", (0.7, 1, 1.5, 2, 3), "Blurs images; standard deviation of the Gaussian.", limit=50), blur
    ),
    Corruption(
        _axis("noise", "%", (4, 8, 12, 18, 26), "Adds noise; standard deviation as a share of white.", limit=100),
        add_noise,
    ),
    Corruption(
        _axis("jpeg", "points", (50, 75, 85, 90, 95), "Compresses as JPEG; points of quality below 100.", limit=99),
        compress,
    ),
)
"""All corruptions, in the order from the scene to the policy in which they are applied."""


def _convolved(images: NDArray[np.float64], kernel: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    radius, size = len(kernel) // 2, images.shape[axis]
    padding = [(radius, radius) if each == axis else (0, 0) for each in range(images.ndim)]
    padded = np.moveaxis(np.pad(images, padding, mode="edge"), axis, 0)
    total = sum(weight * padded[offset : offset + size] for offset, weight in enumerate(kernel))
    return np.moveaxis(np.asarray(total), 0, axis)


def _compressed(image: Images, quality: int) -> Images:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def _to_pixels(values: NDArray[np.float64]) -> Images:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
