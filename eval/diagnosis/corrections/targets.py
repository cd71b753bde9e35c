"""Corrections for actions that are absolute targets where displacements are expected, or the reverse.

An absolute target of an entry of the state, less that entry, is a displacement. Which entry belongs to which action,
and in which scale, is found by fitting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eval.diagnosis.corrections.actions import fit_line
from eval.diagnosis.corrections.correction import Correction
from eval.diagnosis.recorded import Answers
from simscaleai.data.keys import vector_key

Numbers = NDArray[np.float64]

_CLEARLY_LOWER = 0.7
"""Share of the error of an explanation to which another one must lower it, to be preferred."""


@dataclass(frozen=True)
class _Pair:
    """An entry of the action that belongs to an entry of the state."""

    action: int
    vector: str
    entry: int
    name: str
    factor: float
    offset: float


def target_corrections(answers: Answers, names: tuple[str, ...]) -> Iterator[Correction]:
    """Yield a correction for each of the two confusions, if some entries of actions fit it in `answers`."""
    if pairs := _pairs(answers, _displacement_of_target):
        yield Correction(
            fault="action.absolute",
            cause=f"the policy gives absolute targets, the dataset displacements: {_text(pairs, names)}",
            remedy="subtract the present value from each target",
            act=_correcting(pairs, _displacement_of_target),
            is_fitted=True,
        )
    if pairs := _pairs(answers, _target_of_displacement):
        yield Correction(
            fault="action.absolute",
            cause=f"the policy gives displacements, the dataset absolute targets: {_text(pairs, names)}",
            remedy="add the present value to each displacement",
            act=_correcting(pairs, _target_of_displacement),
            is_fitted=True,
        )


Conversion = Callable[[Numbers, Numbers, Numbers], tuple[Numbers, Numbers]]
"""Function of the predictions (N, H), of a present value (N,), and of the recorded actions (N,). It returns the
converted predictions before scaling (N, H), and what is added after scaling (N,)."""


def _displacement_of_target(chunk: Numbers, present: Numbers) -> tuple[Numbers, Numbers]:
    return np.diff(chunk, axis=1, prepend=present[:, None]), np.zeros(len(chunk))


def _target_of_displacement(chunk: Numbers, present: Numbers) -> tuple[Numbers, Numbers]:
    return np.cumsum(chunk, axis=1), present


def _present(answers: Answers, vector: str, entry: int) -> Numbers:
    return answers.sample.vector(vector_key(vector))[:, entry]


def _pairs(answers: Answers, convert: Callable[[Numbers, Numbers], tuple[Numbers, Numbers]]) -> list[_Pair]:
    found = [_best_pair(answers, action, convert) for action in range(answers.chunks.shape[2])]
    return [pair for pair in found if pair is not None]


def _best_pair(
    answers: Answers, action: int, convert: Callable[[Numbers, Numbers], tuple[Numbers, Numbers]]
) -> _Pair | None:
    """Return the entry of the state that explains `action` best, if it does so clearly better than none."""
    chunk, recorded = answers.chunks[:, :, action], answers.sample.actions(answers.shift)[:, action]
    alone = _misfit(chunk[:, 0], recorded)
    best, least = None, _CLEARLY_LOWER * alone
    for vector, layout in answers.sample.dataset.needs.vectors.items():
        values = answers.sample.vector(vector_key(vector))
        for entry, name in enumerate(layout.entry_names):
            converted, added = convert(chunk, values[:, entry])
            factor, offset = fit_line(converted[:, 0], recorded - added)
            misfit = _misfit(converted[:, 0], recorded - added)
            if factor > 0 and misfit < min(least, _CLEARLY_LOWER * _misfit(values[:, entry], recorded)):
                best, least = _Pair(action, vector, entry, name, factor, offset), misfit
    return best


def _misfit(x: Numbers, y: Numbers) -> float:
    """Return the mean distance of y from the line over x that fits best."""
    slope, intercept = fit_line(x, y)
    return float(np.nanmean(np.abs(slope * x + intercept - y)))


def _correcting(
    pairs: list[_Pair], convert: Callable[[Numbers, Numbers], tuple[Numbers, Numbers]]
) -> Callable[[Answers], Answers]:
    def act(answers: Answers) -> Answers:
        chunks = answers.chunks.copy()
        for pair in pairs:
            present = _present(answers, pair.vector, pair.entry)
            converted, added = convert(answers.chunks[:, :, pair.action], present)
            chunks[:, :, pair.action] = pair.factor * converted + pair.offset + added[:, None]
        return replace(answers, chunks=chunks)

    return act


def _text(pairs: list[_Pair], names: tuple[str, ...]) -> str:
    return ", ".join(f"{names[pair.action]} of {pair.name}" for pair in pairs)
