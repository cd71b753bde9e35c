"""The statistics that LeRobot stores for every feature, for each episode and for all episodes together.

They are exact and cover every frame. LeRobot itself estimates quantiles from histograms and samples the images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}

FeatureStatistics = dict[str, Any]
"""`min`, `max`, `mean`, `std` and the quantiles as nested lists, and `count` of frames as a list with one entry."""


def vector_statistics(values: NDArray[Any]) -> FeatureStatistics:
    """Return the statistics of each entry of `values` (T, n) or (T,). Each statistic is a list of n numbers."""
    rows = values.reshape(len(values), -1).astype(np.float64)
    found = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
    found |= {name: np.quantile(rows, share, axis=0) for name, share in QUANTILES.items()}
    return {name: numbers.tolist() for name, numbers in found.items()} | {"count": [len(rows)]}


def count_pixels(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how often each of the 256 values occurs in each channel of `images` (T, H, W, C), shape (C, 256)."""
    return np.stack([np.bincount(images[..., channel].ravel(), minlength=256) for channel in range(images.shape[-1])])


def image_statistics(counts: NDArray[np.int64], frames: int) -> FeatureStatistics:
    """Return the statistics of the pixels counted in `counts` (C, 256), scaled to [0, 1], each of shape (C, 1, 1)."""
    values = np.arange(256) / 255
    total, cumulative = counts.sum(1), counts.cumsum(1)
    mean = counts @ values / total
    found = {
        "min": values[(counts > 0).argmax(1)],
        "max": values[255 - (counts[:, ::-1] > 0).argmax(1)],
        "mean": mean,
        "std": np.sqrt((counts * (values - mean[:, None]) ** 2).sum(1) / total),
    }
    for name, share in QUANTILES.items():
        found[name] = values[(cumulative >= share * total[:, None]).argmax(1)]
    return {name: _per_channel(numbers) for name, numbers in found.items()} | {"count": [frames]}


def _per_channel(numbers: ArrayLike) -> list[list[list[float]]]:
    nested: list[list[list[float]]] = np.reshape(numbers, (-1, 1, 1)).tolist()
    return nested
