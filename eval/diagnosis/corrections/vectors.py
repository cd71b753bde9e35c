"""Corrections of vectors: order of the entries, units, and normalisation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, permutations
from math import pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.diagnosis.corrections.correction import Correction
from simscaleai.contract import Layout, Needs, Observation
from simscaleai.data.keys import vector_key
from simscaleai.data.statistics import VectorStatistics
from simscaleai.processing import Affine

_MOST_ORDERED = 4
"""Most features of a vector of which all orders are tried; of more features, two change places."""
_QUATERNION = 4
_LARGEST_MIXED = 7
"""Most entries of a feature of which any two change places."""

_UNITS = {("rad", "rad/s", "unknown"): (180 / pi, "degrees", "radians"), ("m", "m/s"): (1000.0, "mm", "m")}
"""Units of entries to a factor, the unit after multiplication by it, and the unit before."""

VectorNormalisers = Mapping[str, Affine]
"""Key of each vector to the normalisation that a policy stores for it."""


def vector_corrections(
    needs: Needs, statistics: Mapping[str, VectorStatistics], stored: VectorNormalisers
) -> Iterator[Correction]:
    """Yield the corrections of vectors for a policy with `needs`.

    Args:
        needs: What the policy observes.
        statistics: Statistics of each array of the dataset.
        stored: Normalisations that the policy stores, if it is a checkpoint; otherwise empty.
    """
    for key, layout in needs.vectors.items():
        for order, what in _orders(layout):
            yield Correction(
                fault="state.order",
                cause=f"the model gets {key} {what}",
                remedy=f"give it in the order of the dataset: {', '.join(each.name for each in layout.features)}",
                observe=_changing(key, _taking(np.argsort(order))),
            )
        yield from _units(key, layout)
        yield from _normalisations(key, statistics[vector_key(key)], stored.get(key))


def _orders(layout: Layout) -> Iterator[tuple[list[int], str]]:
    """Yield orders in which a model may get the entries of a vector by mistake, and each in words."""
    blocks = [list(range(layout.size)[layout.slice(feature.name)]) for feature in layout.features]
    names = [feature.name for feature in layout.features]
    for order in _block_orders(len(blocks)):
        moved = ", ".join(names[number] for number in order)
        yield [entry for number in order for entry in blocks[number]], f"in the order {moved}"
    for block in blocks:
        for changed in _inner_orders(block):
            moved = ", ".join(layout.entry_names[new] for old, new in zip(block, changed, strict=True) if old != new)
            before = ", ".join(layout.entry_names[old] for old, new in zip(block, changed, strict=True) if old != new)
            yield [*range(block[0]), *changed, *range(block[-1] + 1, layout.size)], f"with {moved} in place of {before}"


def _block_orders(count: int) -> Iterator[Sequence[int]]:
    unchanged = tuple(range(count))
    if count <= _MOST_ORDERED:
        yield from (order for order in permutations(unchanged) if order != unchanged)
        return
    for first, second in combinations(unchanged, 2):
        yield _exchanged(unchanged, first, second)


def _inner_orders(block: list[int]) -> Iterator[list[int]]:
    if len(block) == _QUATERNION:
        yield from ([*block[1:], block[0]], [block[-1], *block[:-1]])  # (w, x, y, z) and (x, y, z, w)
    if 1 < len(block) <= _LARGEST_MIXED:
        for first, second in combinations(range(len(block)), 2):
            yield _exchanged(block, first, second)


def _exchanged(order: Sequence[int], first: int, second: int) -> list[int]:
    changed = list(order)
    changed[first], changed[second] = order[second], order[first]
    return changed


def _units(key: str, layout: Layout) -> Iterator[Correction]:
    units = np.array([feature.unit for feature in layout.features for _ in range(feature.size)])
    for names, (factor, larger, smaller) in _UNITS.items():
        chosen = np.isin(units, names)
        if not chosen.any():
            continue
        for power, (got, expected) in {1: (smaller, larger), -1: (larger, smaller)}.items():
            yield Correction(
                fault="state.units",
                cause=f"entries of {key} are in {got}, where the model expects {expected}",
                remedy=f"convert {key} to the units of training",
                observe=_changing(key, _affine(np.where(chosen, factor**power, 1.0), np.zeros(layout.size))),
            )


def _normalisations(key: str, statistics: VectorStatistics, stored: Affine | None) -> Iterator[Correction]:
    if stored is not None:
        own, offset, scale = Affine.standardise(statistics), np.asarray(stored.offset), np.asarray(stored.scale)
        yield Correction(
            fault="state.normaliser",
            cause=f"the normaliser of {key} in the checkpoint is missing or that of another dataset",
            remedy="store the statistics of the training data in the checkpoint",
            observe=_changing(key, lambda values: own.forward(values) * scale + offset),
        )
    for normaliser in (Affine.standardise(statistics), Affine.from_range(statistics)):
        what = "mean and standard deviation" if normaliser == Affine.standardise(statistics) else "range"
        yield Correction(
            fault="state.normaliser",
            cause=f"{key} is not normalised by its {what} in the dataset, which the model expects",
            remedy=f"normalise {key} with the statistics of the training data",
            observe=_changing(key, normaliser.forward),
        )
        yield Correction(
            fault="state.normaliser",
            cause=f"{key} is normalised by its {what} once too often",
            remedy=f"normalise {key} once",
            observe=_changing(key, normaliser.inverse),
        )


def _taking(order: NDArray[np.intp]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    return lambda values: values[..., order]


def _affine(scale: NDArray[np.float64], offset: NDArray[np.float64]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    return lambda values: values * scale + offset


def _changing(key: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[[Observation], Observation]:
    def observe(observation: Observation) -> Observation:
        return observation | {key: np.ascontiguousarray(change(observation[key]), np.float32)}

    return observe
