"""Image augmentation: random changes of colour, brightness, contrast and sharpness, alike for all pixels of an image.

`draw` draws the numbers on the host, for each sample and camera. `augmented` applies them on the device.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

BRIGHTNESS = 1.3
"""Largest change of the brightness at strength 1 [stop], darker or brighter."""
CONTRAST = 0.5
"""Largest relative change of the contrast at strength 1."""
SATURATION = 0.7
"""Largest relative change of the saturation at strength 1."""
HUE = 20.0
"""Largest turn of the hue at strength 1 [deg]. Red, green, blue and yellow, which instructions name, stay apart."""
BLUR = 1.5
"""Largest standard deviation of the blur at strength 1 [px]."""

_LUMA = (0.299, 0.587, 0.114)
"""Share of red, green and blue in the brightness of a pixel (ITU-R BT.601)."""
_RADIUS = 4  # of the blur's kernel [px]


def draw(rng: np.random.Generator, shape: tuple[int, int], strength: float) -> dict[str, Tensor]:
    """Draw the changes of images (B, C), uniformly and independently.

    Args:
        rng: Source of the random numbers.
        shape: Number of samples and number of cameras, (B, C).
        strength: Share of the largest changes, in (0, 1].

    Returns:
        `colour`, maps of red, green and blue (B, C, 3, 3); `contrast`, factors (B, C, 1, 1, 1); `blur`, kernels along
        each axis (B, C, taps). All float32.
    """
    brightness, contrast, saturation, hue = strength * rng.uniform(-1, 1, (4, *shape))
    sigma = strength * BLUR * rng.uniform(0, 1, shape)
    gain = 2 ** (BRIGHTNESS * brightness)
    colour = gain[..., None, None] * (_saturation(1 + SATURATION * saturation) @ _hue(np.deg2rad(HUE) * hue))
    drawn: dict[str, NDArray[Any]] = {
        "colour": colour,
        "contrast": (1 + CONTRAST * contrast)[..., None, None, None],
        "blur": _kernels(sigma),
    }
    return {name: torch.from_numpy(values.astype(np.float32)) for name, values in drawn.items()}


def augmented(images: Tensor, *, colour: Tensor, contrast: Tensor, blur: Tensor) -> Tensor:
    """Return changed `images`, float (B, C, 3, H, W) in [0, 1]; see `draw` for the changes."""
    images = (colour @ images.flatten(3)).view(images.shape)
    red, green, blue = images.mean(dim=(3, 4)).unbind(dim=2)
    mean = (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue)[..., None, None, None]
    images = (contrast * images + (1 - contrast) * mean).clamp(0, 1)
    return _blurred(images, blur)


def _blurred(images: Tensor, kernels: Tensor) -> Tensor:
    """Convolve each image with its kernel along both axes; borders repeat."""
    height, width = images.shape[-2:]
    planes = images.view(1, -1, height, width)
    weights = kernels.repeat_interleave(images.shape[2], dim=1).flatten(0, 1)  # one kernel per plane
    padded = functional.pad(planes, (_RADIUS, _RADIUS, _RADIUS, _RADIUS), mode="replicate")
    across = functional.conv2d(padded, weights[:, None, None, :], groups=len(weights))
    return functional.conv2d(across, weights[:, None, :, None], groups=len(weights)).view(images.shape)


def _saturation(factor: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the maps (…, 3, 3) that scale the distance of a colour from the grey of its brightness by `factor`."""
    scale = factor[..., None, None]
    maps: NDArray[np.float64] = scale * np.eye(3) + (1 - scale) * np.array(_LUMA)
    return maps


def _hue(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotations (…, 3, 3) about the grey axis by `angle` [rad]."""
    axis = 1 / np.sqrt(3)
    cross = axis * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    cosine, sine = np.cos(angle)[..., None, None], np.sin(angle)[..., None, None]
    rotations: NDArray[np.float64] = cosine * np.eye(3) + sine * cross + (1 - cosine) / 3
    return rotations


def _kernels(sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Gaussian kernels (…, taps) of standard deviation `sigma` [px]; the identity for 0."""
    offsets = np.arange(-_RADIUS, _RADIUS + 1)
    kernels: NDArray[np.float64] = np.exp(-0.5 * (offsets / np.maximum(sigma, 1e-3)[..., None]) ** 2)
    kernels /= kernels.sum(axis=-1, keepdims=True)
    return kernels
