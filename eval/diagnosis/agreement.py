"""How well predicted and recorded actions agree: figures for each entry of an action, and along a chunk."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eval.diagnosis.recorded import Answers, means
from eval.statistics.reduction import Reduction, reduction
from simscaleai.data.statistics import VectorStatistics

_UNCHANGING = 1e-3
"""Standard deviation of a recorded entry, as a share of its largest absolute value, below which it does not count."""
_CONSTANT = 0.01
"""Standard deviation of a predicted entry, as a share of the recorded one, below which it counts as constant."""
_NEAR_END = 0.05
"""Share of the range of an entry within which a value counts as being at one of the ends."""
_TWO_VALUED = 0.9
"""Share of recorded values at the ends of the range from which an entry counts as two-valued, such as a gripper."""


@dataclass(frozen=True)
class EntryAgreement:
    """How well one entry of the actions agrees."""

    name: str
    correlation: float | None
    """Pearson's correlation of predicted and recorded values; None if one of them does not change."""
    median_error: float
    """Median of |predicted − recorded|, in the unit of the entry."""
    same_side: float | None
    """Share of predictions on the recorded side of the middle, for entries with two values; None for others."""
    is_constant: bool
    """Whether the prediction does not change although the recorded value does."""


@dataclass(frozen=True)
class Agreement:
    """How well predicted and recorded actions agree in some episodes."""

    entries: tuple[EntryAgreement, ...]
    along_chunk: dict[int, float]
    """Mean error of action h of a chunk, for h = 1, 2, 4, … and the last one [standard deviations]."""
    executed: int
    """Number of actions of a chunk that are executed."""
    against_constant: Reduction
    """The error of the best constant action, and that of the policy."""

    @property
    def error(self) -> float:
        """Mean error of the executed actions [standard deviations of the recorded actions]."""
        return self.against_constant.after


def error_scale(statistics: VectorStatistics) -> NDArray[np.float64]:
    """Return the unit of the error of each entry of an action: its standard deviation; NaN if it does not change."""
    std = np.asarray(statistics["std"], np.float64)
    largest = np.maximum(np.abs(statistics["min"]), np.abs(statistics["max"]))
    return np.where(std > _UNCHANGING * largest, std, np.nan)


def agreement(
    answers: Answers, names: tuple[str, ...], statistics: VectorStatistics, scale: NDArray[np.float64]
) -> Agreement:
    """Return how well `answers` agree with the recorded actions.

    Args:
        answers: Of at least one episode.
        names: Name of each entry of an action.
        statistics: Statistics of the recorded actions of the whole dataset.
        scale: From `error_scale`.
    """
    horizon = answers.chunks.shape[1]
    doubled = [2**power for power in range(horizon.bit_length()) if 2**power < horizon]
    whole = means(replace(answers, executed=horizon).differences(scale))
    return Agreement(
        entries=tuple(_of_entry(answers, number, name, statistics, scale) for number, name in enumerate(names)),
        along_chunk={h: float(np.nanmean(whole[:, h - 1])) for h in [*doubled, horizon]},
        executed=answers.executed,
        against_constant=against_constant(answers, scale),
    )


def against_constant(answers: Answers, scale: NDArray[np.float64]) -> Reduction:
    """Return how far the errors lie below those of the constant action that has the smallest error."""
    constant = np.nanmedian(answers.sample.actions(0), axis=0)
    same = replace(answers, chunks=np.broadcast_to(constant, answers.chunks.shape))
    return reduction(same.errors(scale), answers.errors(scale))


def _of_entry(
    answers: Answers, number: int, name: str, statistics: VectorStatistics, scale: NDArray[np.float64]
) -> EntryAgreement:
    predicted, recorded = answers.chunks[:, 0, number], answers.sample.actions(answers.shift)[:, number]
    known = ~np.isnan(recorded)
    low, high = statistics["min"][number], statistics["max"][number]
    changes = predicted.std() > _CONSTANT * np.nan_to_num(scale[number], nan=0.0)
    both_change = changes and predicted[known].std() > 0 and recorded[known].std() > 0
    at_ends = np.minimum(recorded - low, high - recorded)[known] <= _NEAR_END * (high - low)
    same = (predicted > (low + high) / 2) == (recorded > (low + high) / 2)
    return EntryAgreement(
        name=name,
        correlation=float(np.corrcoef(predicted[known], recorded[known])[0, 1]) if both_change else None,
        median_error=float(np.nanmedian(np.abs(predicted - recorded))),
        same_side=float(same[known].mean()) if high > low and at_ends.mean() >= _TWO_VALUED else None,
        is_constant=bool(not changes and not np.isnan(scale[number])),
    )
