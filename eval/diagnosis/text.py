"""A diagnosis as rows for people, and as plain JSON data for scripts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eval.diagnosis.agreement import EntryAgreement
from eval.diagnosis.diagnosis import Diagnosis, Finding
from eval.diagnosis.search import LEAST_DROP, LEAST_SHARE, Trial
from eval.statistics.percentage import points_text
from eval.statistics.reduction import Reduction

Row = tuple[str, str]


def diagnosis_rows(diagnosis: Diagnosis) -> Iterator[Row]:
    """Yield what is wrong, the figures of agreement, and what would have been found."""
    yield "found", _headline(diagnosis)
    for number, finding in enumerate(diagnosis.findings, 1):
        yield from _finding_rows(f"{number}. " if len(diagnosis.findings) > 1 else "", finding)
    for note in diagnosis.notes:
        yield "note", note
    yield from _agreement_rows(diagnosis)
    yield from _search_rows(diagnosis)


def _headline(diagnosis: Diagnosis) -> str:
    where = f"in {diagnosis.looks} looks at {diagnosis.episodes} recorded episodes"
    return f"{', '.join(finding.fault for finding in diagnosis.findings) or 'nothing'}, {where}"


def _finding_rows(number: str, finding: Finding) -> Iterator[Row]:
    yield f"{number}{finding.fault}", finding.cause
    if finding.found is not None:
        yield "  evidence", f"corrected, {_effect_text(finding.found.trial)}"
        for trial in finding.found.alternatives:
            yield "  or", f"{trial.correction.fault}: {trial.correction.cause}; corrected, {_effect_text(trial)}"
    yield "  to do", finding.remedy


def _effect_text(trial: Trial) -> str:
    effect = trial.effect
    return (
        f"the error falls from {effect.before:.2f} to {effect.after:.2f}, by {_share_text(effect)}, in {effect.lower} "
        f"of {effect.episodes} episodes (p = {trial.p_value:.2g})"
    )


def _share_text(effect: Reduction) -> str:
    low, high, _ = effect.interval
    return f"{points_text(effect.share)} % [{points_text(low)}, {points_text(high)}]"


def _agreement_rows(diagnosis: Diagnosis) -> Iterator[Row]:
    figures = diagnosis.agreement
    constant = figures.against_constant.before
    yield (
        "error",
        f"{figures.error:.2f} standard deviations of the recorded actions; a constant action has {constant:.2f}",
    )
    for entry in figures.entries:
        yield f"  {entry.name}", _entry_text(entry)
    if len(figures.along_chunk) > 1:
        errors = ", ".join(f"{h}: {error:.2f}" for h, error in figures.along_chunk.items())
        yield "  along the chunk", f"{errors} (executed: {figures.executed})"


def _entry_text(entry: EntryAgreement) -> str:
    parts = [
        "never changes" if entry.correlation is None else f"correlation {entry.correlation:.2f}",
        f"median error {entry.median_error:.3g}",
        "" if entry.same_side is None else f"on the same side {points_text(entry.same_side)} %",
    ]
    return ", ".join(part for part in parts if part)


def _search_rows(diagnosis: Diagnosis) -> Iterator[Row]:
    outcome = diagnosis.outcome
    if outcome is None:
        return
    if not outcome.tried:
        yield "tested", f"no corrections: with an error below {LEAST_DROP} none could lower it enough to be named"
        return
    left = " left" if outcome.faults else ""
    closest = f"none{left} helps"
    if outcome.closest is not None:
        closest = f"the best{left} ({outcome.closest.correction.fault}) removes {_share_text(outcome.closest.effect)}"
    elif outcome.best_screened > 0:
        closest = f"the best{left} removes {points_text(outcome.best_screened)} % of the error in the screening"
    yield "tested", f"{outcome.tried} corrections; {closest}"
    yield (
        "would be found",
        f"a correction that removes {points_text(LEAST_SHARE)} % of the error and at least {LEAST_DROP}, in "
        f"{diagnosis.needed} of {diagnosis.confirming} episodes",
    )


# JSON


def diagnosis_to_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return a diagnosis as plain JSON data; shares are fractions."""
    outcome, figures = diagnosis.outcome, diagnosis.agreement
    return {
        "faults": [_finding_to_json(finding) for finding in diagnosis.findings],
        "notes": list(diagnosis.notes),
        "episodes": diagnosis.episodes,
        "looks": diagnosis.looks,
        "agreement": {
            "error": figures.error,
            "error_of_constant": figures.against_constant.before,
            "entries": {entry.name: _entry_to_json(entry) for entry in figures.entries},
            "along_chunk": {str(h): error for h, error in figures.along_chunk.items()},
            "executed": figures.executed,
        },
        "corrections_tested": outcome.tried if outcome is not None else 0,
        "closest": _trial_to_json(outcome.closest) if outcome is not None and outcome.closest is not None else None,
        "would_be_found": {
            "share": LEAST_SHARE,
            "drop": LEAST_DROP,
            "episodes": diagnosis.needed,
            "of": diagnosis.confirming,
        },
    }


def _finding_to_json(finding: Finding) -> dict[str, Any]:
    found = finding.found
    return {
        "fault": finding.fault,
        "cause": finding.cause,
        "remedy": finding.remedy,
        "evidence": None if found is None else _trial_to_json(found.trial),
        "alternatives": [] if found is None else [_trial_to_json(trial) for trial in found.alternatives],
    }


def _trial_to_json(trial: Trial) -> dict[str, Any]:
    effect = trial.effect
    return {
        "fault": trial.correction.fault,
        "error_before": effect.before,
        "error_after": effect.after,
        "share": effect.share,
        "share_95": list(effect.interval[:2]),
        "lower_in": effect.lower,
        "of": effect.episodes,
        "p_holm": trial.p_value,
    }


def _entry_to_json(entry: EntryAgreement) -> dict[str, Any]:
    return {
        "correlation": entry.correlation,
        "median_error": entry.median_error,
        "same_side": entry.same_side,
        "is_constant": entry.is_constant,
    }
