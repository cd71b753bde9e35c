"""The search for faults: corrections are screened on some episodes, and the best are confirmed on the others.

Screening on other episodes than the test keeps the test honest: the choice of the best correction does not favour luck.
A correction that is confirmed stays in place, and the search begins again, because a policy may have several faults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from eval.diagnosis.agreement import against_constant
from eval.diagnosis.asking import Asker, Change
from eval.diagnosis.corrections.correction import Correction
from eval.diagnosis.recorded import Answers, Sample
from eval.statistics.multiplicity import holm
from eval.statistics.reduction import Reduction, reduction
from simscaleai.errors import SimScaleError

LEAST_SHARE = 0.25
"""Share of the error that a correction must remove to count as a fault."""
LEAST_DROP = 0.1
"""Drop of the error that a correction must bring to count as a fault [standard deviations of the recorded actions]."""
MOST_SHARE_OF_CONSTANT = 0.5
"""Error after scaling or moving actions, as a share of the error of the best constant action, at most for a fault.
Without this limit, a policy that is lost, for example in another light, would seem to have a wrong scale."""
MOST_FAULTS = 3
"""Most faults that are looked for, one after the other."""
LEVEL = 0.05
"""Probability of any wrong finding by chance, at most."""
_CONFIRMED = 3
"""Number of corrections that are tested after the screening."""
_FITTED_PENALTY = 1.1
"""Factor of the error of a correction with fitted numbers: a plain one that is nearly as good is preferred."""


@dataclass(frozen=True)
class Trial:
    """A correction that was tested on the confirming episodes."""

    correction: Correction
    effect: Reduction
    p_value: float
    """Adjusted for the number of corrections that were tested (Holm)."""
    constant: float
    """Error of the best constant action."""

    @property
    def is_fault(self) -> bool:
        """Whether the correction lowers the error clearly."""
        effect = self.effect
        is_large = effect.share >= LEAST_SHARE and effect.drop >= LEAST_DROP and effect.interval.low > 0
        if self.correction.rescales and effect.after > MOST_SHARE_OF_CONSTANT * self.constant:
            return False
        return is_large and self.p_value <= LEVEL / MOST_FAULTS

    @property
    def rank(self) -> float:
        """Error after the correction; the smallest is the best explanation."""
        return self.effect.after * (_FITTED_PENALTY if self.correction.is_fitted else 1.0)


@dataclass(frozen=True)
class Found:
    """A fault, and other faults that explain the errors nearly as well."""

    trial: Trial
    alternatives: tuple[Trial, ...]


@dataclass(frozen=True)
class Outcome:
    """What the search found."""

    faults: tuple[Found, ...]
    closest: Trial | None
    """Best correction of the last round, which is no fault; None if none passed the screening or none was tried."""
    best_screened: float
    """Largest share of the error that a correction removed in the last screening; 0 if none was tried."""
    tried: int
    """Number of corrections that were screened in the first round."""
    corrected: Answers
    """Answers in the confirming episodes with all faults corrected."""

    @property
    def changes(self) -> list[Change]:
        """Corrections of the observations, in the order of `Asker.ask`."""
        return _changes([found.trial.correction for found in self.faults])


@dataclass(frozen=True)
class Search:
    """Looks for the faults of one policy."""

    asker: Asker
    screening: Sample
    confirming: Sample
    scale: NDArray[np.float64]
    """Unit of the error of each entry of an action, (A,); NaN for entries that do not count."""
    of_observations: Sequence[Correction]
    """Corrections of what the policy gets."""
    of_answers: Callable[[Answers], Iterable[Correction]]
    """Returns corrections of what the policy gives, from its answers in the screening episodes."""
    progress: bool = False
    """Whether to show progress on a terminal."""

    def run(self) -> Outcome:
        """Look for faults until none is left, or `MOST_FAULTS` are found."""
        applied: tuple[Correction, ...] = ()
        faults: list[Found] = []
        tried = 0
        while True:
            screened, before = self._screen(applied)
            tried = tried or len(screened)
            trials = self._confirm(applied, before, screened)
            confirmed = sorted((trial for trial in trials if trial.is_fault), key=lambda trial: trial.rank)
            if not confirmed or len(faults) == MOST_FAULTS:
                share = max((each.share for each in screened), default=0.0)
                closest = min(trials, key=lambda trial: trial.rank, default=None)
                return Outcome(tuple(faults), closest, share, tried, before)
            faults.append(Found(confirmed[0], _alternatives(confirmed)))
            applied = (*applied, confirmed[0].correction)

    def answers(self, sample: Sample, corrections: Sequence[Correction]) -> Answers:
        """Return the answers at the rows of `sample` with `corrections` in place."""
        if any(correction.forgets for correction in corrections):
            sample = replace(sample, keeps_memory=False)
        found = self.asker.ask(sample, _changes(corrections))
        for correction in corrections:
            found = found if correction.act is None else correction.act(found)
        return found

    def _screen(self, applied: tuple[Correction, ...]) -> tuple[list[_Screened], Answers]:
        """Return all corrections with their effect in the screening episodes, and the confirming answers before."""
        before = self.answers(self.screening, applied)
        confirming = self.answers(self.confirming, applied)
        errors = before.errors(self.scale)
        if max(errors.mean(), confirming.errors(self.scale).mean()) < LEAST_DROP:
            return [], confirming  # no correction could lower the error so far
        screened = []
        corrections = [*self.of_observations, *self.of_answers(before)]
        bar = tqdm(corrections, desc="corrections", leave=False, disable=None if self.progress else True)
        for correction in bar:
            after = self._after(self.screening, applied, correction, before)
            if after is not None:
                screened.append(_Screened(correction, float(errors.mean()), float(after.errors(self.scale).mean())))
        return screened, confirming

    def _after(
        self, sample: Sample, applied: tuple[Correction, ...], correction: Correction, before: Answers
    ) -> Answers | None:
        """Return the answers with `correction` in place, too; None if the policy refuses such observations."""
        if correction.act is not None:
            return correction.act(before)
        try:
            return self.answers(sample, (*applied, correction))
        except SimScaleError:
            return None

    def _confirm(self, applied: tuple[Correction, ...], before: Answers, screened: Sequence[_Screened]) -> list[Trial]:
        """Test the best corrections of the screening on the confirming episodes."""
        passed = sorted((each for each in screened if each.passes), key=lambda each: each.rank)[:_CONFIRMED]
        effects = []
        for each in passed:
            after = self._after(self.confirming, applied, each.correction, before)
            if after is not None:
                effects.append((each.correction, reduction(before.errors(self.scale), after.errors(self.scale))))
        adjusted = holm([effect.p_value for _, effect in effects])
        constant = against_constant(before, self.scale).before
        return [
            Trial(correction, effect, p, constant) for (correction, effect), p in zip(effects, adjusted, strict=True)
        ]


@dataclass(frozen=True)
class _Screened:
    """A correction and the mean error in the screening episodes without and with it."""

    correction: Correction
    before: float
    after: float

    @property
    def share(self) -> float:
        return 1 - self.after / self.before

    @property
    def passes(self) -> bool:
        """Whether the correction is worth a test. The bar is half of that for a fault."""
        return self.share >= LEAST_SHARE / 2 and self.before - self.after >= LEAST_DROP / 2

    @property
    def rank(self) -> float:
        return self.after * (_FITTED_PENALTY if self.correction.is_fitted else 1.0)


def _changes(corrections: Sequence[Correction]) -> list[Change]:
    return [correction.observe for correction in corrections if correction.observe is not None]


def _alternatives(confirmed: Sequence[Trial]) -> tuple[Trial, ...]:
    """Return the trials of other faults that explain the errors nearly as well as the first."""
    best, *others = confirmed
    return tuple(
        trial
        for trial in others
        if trial.correction.fault != best.correction.fault and trial.effect.after <= _FITTED_PENALTY * best.effect.after
    )
