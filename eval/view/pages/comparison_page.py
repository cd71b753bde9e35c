"""What the page of two runs shows: the verdict, and the pairs of episodes, discordant ones first."""

from __future__ import annotations

from typing import Any

from eval.comparison.conditions import NotComparableError
from eval.comparison.outcome import Pair
from eval.comparison.pairing import compare
from eval.comparison.text import finding_rows
from eval.episodes.results import EpisodeResult
from eval.runs.run import Run
from eval.view.pages.run_page import safe


def comparison_page(a: Run, b: Run) -> dict[str, Any]:
    """Return the comparison of two runs as plain JSON data; if they cannot be compared, the reasons.

    A pair is a list: task, seed, then index, status, failure and steps of A, and the same of B.
    """
    try:
        found = compare(a, b)
    except NotComparableError as error:
        return {"reasons": list(error.differences)}
    interval = found.interval
    return {
        "verdict": found.verdict.value,
        "rows": [[name, text] for name, text in finding_rows(found) if name and text],
        "difference": [found.counts.difference, interval.low, interval.high],
        "warnings": list(found.warnings),
        "pairs": sorted(map(_pair, found.pairs), key=lambda pair: (pair[3] == "success") == (pair[7] == "success")),
        "control_hz": a.record.environment.control_hz,
    }


def _pair(pair: Pair) -> list[Any]:
    return [pair.a.task, safe(pair.a.seed), *_outcome(pair.a), *_outcome(pair.b)]


def _outcome(result: EpisodeResult) -> list[Any]:
    return [result.episode_index, result.status, result.failure, result.steps]
