"""Minimum, maximum, mean and standard deviation of a dataset's vectors, merged episode by episode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

VectorStatistics = dict[str, Any]
"""`min`, `max`, `mean`, `std` (of the population), each a list of n numbers, and `count` (number of rows)."""


def compute_statistics(episodes: Iterable[Mapping[str, NDArray[Any]]]) -> dict[str, VectorStatistics]:
    """Return the statistics of each float vector over all steps of `episodes`, in float64.

    The last digits depend on the order of the episodes. Pass the episodes in the order of their index.
    """
    merged: dict[str, VectorStatistics] = {}
    for arrays in episodes:
        for key, values in arrays.items():
            if is_float_vector(values.dtype, values.shape[1:]):
                single = _of_rows(values)
                merged[key] = merge_statistics(merged[key], single) if key in merged else single
    return merged


def is_float_vector(dtype: DTypeLike, shape: tuple[int, ...]) -> bool:
    """Return whether arrays of this type, whose steps have this `shape`, have statistics."""
    return len(shape) == 1 and np.dtype(dtype).kind == "f"


def merge_statistics(first: VectorStatistics, second: VectorStatistics) -> VectorStatistics:
    """Return the statistics of the union of two sets of rows.

    Source: Chan, Golub, LeVeque (1979), updating formulae for sample variances.
    """
    count = first["count"] + second["count"]
    share = second["count"] / count
    shift = np.subtract(second["mean"], first["mean"])
    variance = (1 - share) * np.square(first["std"]) + share * np.square(second["std"])
    variance += share * (1 - share) * np.square(shift)
    return {
        "min": np.minimum(first["min"], second["min"]).tolist(),
        "max": np.maximum(first["max"], second["max"]).tolist(),
        "mean": (np.asarray(first["mean"]) + share * shift).tolist(),
        "std": np.sqrt(variance).tolist(),
        "count": count,
    }


def _of_rows(rows: NDArray[Any]) -> VectorStatistics:
    values = rows.astype(np.float64)
    found = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
    return {name: array.tolist() for name, array in found.items()} | {"count": len(values)}
