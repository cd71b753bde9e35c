"""What a run found: counts, intervals and failure classes of its episodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from eval.console import Row, rows_text
from eval.moved_object import moved_objects
from eval.percentage import points_text, rate_text
from eval.power import independent_discordance, smallest_difference
from eval.results import EpisodeResult
from eval.statistics import Interval, clopper_pearson, rate_interval


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Figures of one run."""

    planned: int
    """Episodes in the plan; of a run that has seen enough, those up to there."""
    episodes: int
    """Episodes that ended."""
    successes: int
    """Episodes whose last step was a success."""
    errors: int
    """Episodes that could not be run; they count as no success."""
    success_rate: float
    """Share of successes among the episodes that ended."""
    wilson_95: tuple[float, float] | None
    """Wilson interval of the success probability at 95 %; None if the number of episodes was not fixed beforehand."""
    confidence_sequence_95: tuple[float, float] | None
    """Instead of it, the interval that holds at every look; None if the number of episodes was fixed beforehand."""
    at_least_95: float | None
    """Lower end of the exact (Clopper-Pearson) interval at 95 %: for guarantees; None as `wilson_95` is."""
    rate_if_errors_succeeded: float
    """The rate if every error had been a success: the upper bound to what errors may hide."""
    success_once: int
    """Episodes with a success at any step."""
    success_held: int | None
    """Episodes with a success held for a while; None when success ends an episode."""
    mean_steps: float
    """Control steps of an episode."""
    smallest_difference: float | None
    """What so many pairs of episodes see with 80 % power, against an equally good policy whose outcomes are independent
    of these; None if they are too few for any difference, or their number was not fixed beforehand."""
    failures: dict[str, int]
    """Failure or error class to the number of episodes, the most frequent first."""
    moved_object: dict[str, Any] | None
    """How often what was lifted was `right`, the target, or `wrong`, and the interval of the right one's share; None if
    nothing was lifted."""

    @property
    def interval(self) -> Interval:
        """The one of the two intervals that there is."""
        return rate_interval(self.successes, self.episodes, sequential=self.wilson_95 is None)

    @property
    def method(self) -> str:
        """What that interval is, for people."""
        return "Wilson" if self.wilson_95 else "confidence sequence, valid under stopping"

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain JSON data."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def summarise(results: Sequence[EpisodeResult], planned: int, *, sequential: bool = False) -> Summary:
    """Return the figures of the episodes in `results`.

    Args:
        results: Finished episodes.
        planned: Episodes that there were to be, at least as many.
        sequential: Whether the run ends when it has seen enough: then there are only figures that hold at every look.
    """
    n = len(results)
    successes = sum(result.status == "success" for result in results)
    errors = sum(result.status == "error" for result in results)
    held = [result.success_held for result in results]
    low, high, _ = rate_interval(successes, n, sequential=sequential)
    rate = successes / max(n, 1)
    moved = moved_objects(results, sequential=sequential)
    return Summary(
        planned=planned,
        episodes=n,
        successes=successes,
        errors=errors,
        success_rate=rate,
        wilson_95=None if sequential else (low, high),
        confidence_sequence_95=(low, high) if sequential else None,
        at_least_95=None if sequential else clopper_pearson(successes, n).low,
        rate_if_errors_succeeded=(successes + errors) / max(n, 1),
        success_once=sum(result.success_once for result in results),
        success_held=None if not held or None in held else sum(map(bool, held)),
        mean_steps=sum(result.steps for result in results) / max(n, 1),
        smallest_difference=None if sequential else smallest_difference(n, independent_discordance(rate, rate)),
        failures=dict(Counter(result.failure for result in results if result.failure).most_common()),
        moved_object=moved.to_json() if moved.n else None,
    )


def format_summary(summary: Summary) -> str:
    """Return the figures as lines of text for people."""
    return rows_text(summary_rows(summary))


def summary_rows(summary: Summary) -> list[Row]:
    """Return the figures for people, each with its name; the success rate is the first."""
    n = summary.episodes
    runs_on = summary.success_held is not None
    headline = f"{rate_text(summary.successes, n, summary.interval)} ({summary.method})"
    rows = [("success at end" if runs_on else "success once", headline)]
    if runs_on:
        rows += [("success once", f"{summary.success_once}/{n}"), ("success held", f"{summary.success_held}/{n}")]
    rows.append(("mean steps", f"{summary.mean_steps:.1f}"))
    if summary.errors:
        low, high = 100 * summary.success_rate, 100 * summary.rate_if_errors_succeeded
        rows.append(
            (
                "errors",
                f"{summary.errors}, counted as no success; had they run, a rate in [{low:.1f}, {high:.1f}] %",
            )
        )
    rows += [(f"  {name}", str(count)) for name, count in summary.failures.items()]
    if n < summary.planned:
        rows.append(("incomplete", f"{n} of {summary.planned} planned episodes count: all before the first not ended"))
    return rows


def smallest_difference_text(summary: Summary) -> str:
    """Return how small a difference from another policy the run could have seen, in words.

    "" if the number of episodes was not fixed beforehand.
    """
    n = summary.episodes
    if summary.wilson_95 is None:
        return ""
    if summary.smallest_difference is None:
        return f"nothing: {n} episodes are too few for any difference"
    least = points_text(summary.smallest_difference)
    return f"{least} pp or more (80 % power, paired with an equally good policy on the same {n} episodes)"
