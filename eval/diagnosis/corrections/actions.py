"""Corrections of actions: sign, order, scale, time, length of a chunk. They need no further call of the policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.diagnosis.corrections.correction import Correction
from eval.diagnosis.recorded import Answers
from simscaleai.processing import Affine

Chunks = NDArray[np.float64]

_SHIFTS = (1, -1, 2, -2)
"""Control steps by which predictions may be early or late."""

_NOTABLE_SCALE = 0.15
"""Deviation of a factor from 1 from which the text names it."""
_CORRELATED = 0.5
"""Least correlation of predicted and recorded values whose spreads are made equal."""
_TINY = 1e-9
"""Spread below which values count as constant."""


def action_corrections(
    answers: Answers, names: Sequence[str], statistics: Mapping[str, Any], stored: Affine | None
) -> Iterator[Correction]:
    """Yield the corrections of actions. Numbers in them are fitted to `answers`.

    Args:
        answers: What the policy answered in the screening episodes.
        names: Name of each entry of an action.
        statistics: Statistics of the recorded actions.
        stored: Normalisation of actions that the policy stores, if it is a checkpoint; None for none.
    """
    for number, name in enumerate(names):
        yield _of_chunks(
            "action.sign", f"{name} has the wrong sign", "give it the sign of the dataset", _negate(number)
        )
    for first, second in combinations(range(len(names)), 2):
        yield _of_chunks(
            "action.order",
            f"{names[first]} and {names[second]} changed places",
            "give the entries of an action in the order of the dataset",
            _exchange(first, second),
        )
    yield from _normalisations(statistics, stored)
    yield from _executions(answers)
    yield from _times()
    yield from _cumulated(answers)
    yield from _scales(answers, names)


def _of_chunks(
    fault: str,
    cause: str,
    remedy: str,
    change: Callable[[Chunks], Chunks],
    *,
    is_fitted: bool = False,
    rescales: bool = False,
) -> Correction:
    def act(answers: Answers) -> Answers:
        return replace(answers, chunks=change(answers.chunks))

    return Correction(fault=fault, cause=cause, remedy=remedy, act=act, is_fitted=is_fitted, rescales=rescales)


def _negate(number: int) -> Callable[[Chunks], Chunks]:
    def change(chunks: Chunks) -> Chunks:
        changed = chunks.copy()
        changed[..., number] *= -1
        return changed

    return change


def _exchange(first: int, second: int) -> Callable[[Chunks], Chunks]:
    def change(chunks: Chunks) -> Chunks:
        changed = chunks.copy()
        changed[..., [first, second]] = chunks[..., [second, first]]
        return changed

    return change


def _normalisations(statistics: Mapping[str, Any], stored: Affine | None) -> Iterator[Correction]:
    own = {"mean and standard deviation": Affine.standardise(statistics), "range": Affine.from_range(statistics)}
    if stored is not None:
        yield _of_chunks(
            "action.normaliser",
            "the normaliser of actions in the checkpoint is that of another dataset",
            "store the statistics of the training data in the checkpoint",
            _in_float64(lambda chunks: own["range"].inverse(stored.forward(chunks))),
            rescales=True,
        )
    for what, normaliser in own.items():
        yield _of_chunks(
            "action.normaliser",
            f"actions are still normalised by their {what}",
            "undo the normalisation with the statistics of the training data",
            _in_float64(normaliser.inverse),
            rescales=True,
        )
        yield _of_chunks(
            "action.normaliser",
            f"the normalisation of actions by their {what} is undone once too often",
            "undo the normalisation once",
            _in_float64(normaliser.forward),
            rescales=True,
        )


def _in_float64(change: Callable[[Chunks], NDArray[np.float32]]) -> Callable[[Chunks], Chunks]:
    return lambda chunks: change(chunks).astype(np.float64)


def _executions(answers: Answers) -> Iterator[Correction]:
    """Yield corrections that execute fewer actions of a chunk: half of them, a quarter, …."""
    steps = answers.executed // 2
    while steps >= 1:
        yield Correction(
            fault="chunk.too_long",
            cause=f"{answers.executed} actions of each chunk are executed, and the later ones are worse",
            remedy=f"--policy-option n_action_steps={steps}",
            act=_executing(steps),
        )
        steps //= 2


def _executing(steps: int) -> Callable[[Answers], Answers]:
    return lambda answers: replace(answers, executed=min(steps, answers.executed))


def _times() -> Iterator[Correction]:
    for shift in _SHIFTS:
        count = f"{abs(shift)} control step{'s' if abs(shift) > 1 else ''}"
        yield Correction(
            fault="time.shift",
            cause=f"the actions come {count} too {'early' if shift > 0 else 'late'}",
            remedy="answer an observation with the action of the same step",
            act=_shifting(shift),
        )


def _shifting(steps: int) -> Callable[[Answers], Answers]:
    return lambda answers: replace(answers, shift=answers.shift + steps)


def _cumulated(answers: Answers) -> Iterator[Correction]:
    """Yield corrections for chunks whose actions are added up, or should be."""
    if answers.executed > 1:
        yield _of_chunks(
            "action.cumulated",
            "the actions of a chunk are displacements since its start instead of since the step before",
            "give the difference of consecutive actions",
            lambda chunks: np.diff(chunks, axis=1, prepend=0.0),
        )
        yield _of_chunks(
            "action.cumulated",
            "the actions of a chunk are displacements since the step before instead of since its start",
            "add up the actions of a chunk",
            lambda chunks: np.cumsum(chunks, axis=1),
        )


def _scales(answers: Answers, names: Sequence[str]) -> Iterator[Correction]:
    """Yield a factor for all entries, a factor for each entry, and a factor and an offset for each entry."""
    first, recorded = answers.chunks[:, 0], answers.sample.actions(answers.shift)
    columns = [(first[:, d], recorded[:, d]) for d in range(len(names))]
    factors = np.array([_same_spread(*pair, centred=False)[0] for pair in columns])
    lines = np.array([_same_spread(*pair, centred=True) for pair in columns])
    for fault, values, offsets in (
        ("action.scale", np.full(len(names), np.median(factors)), np.zeros(len(names))),
        ("action.scale", factors, np.zeros(len(names))),
        ("action.normaliser", lines[:, 0], lines[:, 1]),
    ):
        yield _of_chunks(
            fault,
            _scale_text(names, values, offsets),
            "scale the actions as in the dataset",
            _line(values, offsets),
            is_fitted=True,
            rescales=True,
        )


def _line(factors: NDArray[np.float64], offsets: NDArray[np.float64]) -> Callable[[Chunks], Chunks]:
    return lambda chunks: chunks * factors + offsets


def _scale_text(names: Sequence[str], factors: NDArray[np.float64], offsets: NDArray[np.float64]) -> str:
    parts = [
        f"{name} × {factor:.3g}{f' {offset:+.3g}' if offset else ''}"
        for name, factor, offset in zip(names, factors, offsets, strict=True)
        if abs(factor - 1) > _NOTABLE_SCALE or abs(offset) > _NOTABLE_SCALE
    ]
    return f"actions are scaled or moved; the recorded ones are {', '.join(parts) or 'nearly the same'}"


def _same_spread(
    predicted: NDArray[np.float64], recorded: NDArray[np.float64], *, centred: bool
) -> tuple[float, float]:
    """Return factor and offset that give the predicted values the spread of the recorded ones.

    They are 1 and 0 if the two are hardly correlated. A line by least squares would be flatter the more the two
    differ, so that it would lower the error of any bad policy.

    Args:
        predicted: Values, (N,).
        recorded: Values, (N,); NaN where unknown.
        centred: Whether the offset may differ from 0.
    """
    known = ~np.isnan(recorded)
    x, y = predicted[known], recorded[known]
    x_mean, y_mean = (float(x.mean()), float(y.mean())) if centred else (0.0, 0.0)
    x_size, y_size = (float(np.sqrt(np.square(each).mean())) for each in (x - x_mean, y - y_mean))
    if min(x_size, y_size) < _TINY or ((x - x_mean) * (y - y_mean)).mean() < _CORRELATED * x_size * y_size:
        return 1.0, 0.0
    factor = y_size / x_size
    return factor, y_mean - factor * x_mean


def fit_line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Return slope and intercept of y over x by least squares, without rows where y is NaN; (1, 0) if x is constant."""
    known = ~np.isnan(y)
    spread = float(x[known].std()) if known.any() else 0.0
    if spread < _TINY:
        return 1.0, 0.0
    slope = float(np.cov(x[known], y[known], bias=True)[0, 1]) / spread**2
    return slope, float(y[known].mean()) - slope * float(x[known].mean())
