"""What a run found: counts, intervals and failure classes of its episodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from eval.percentage import points_text
from eval.power import independent_discordance, smallest_difference
from eval.results import EpisodeResult
from eval.statistics import clopper_pearson, wilson


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Figures of one run."""

    planned: int
    """Episodes in the plan."""
    episodes: int
    """Episodes that ended."""
    successes: int
    """Episodes whose last step was a success."""
    errors: int
    """Episodes that could not be run; they count as no success."""
    success_rate: float
    """Share of successes among the episodes that ended."""
    wilson_95: tuple[float, float]
    """Wilson interval of the success probability at 95 %."""
    at_least_95: float
    """Lower end of the exact (Clopper-Pearson) interval at 95 %: for guarantees."""
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
    of these; None if they are too few for any difference."""
    failures: dict[str, int]
    """Failure or error class to the number of episodes, the most frequent first."""

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain JSON data."""
        return asdict(self) | {"wilson_95": list(self.wilson_95)}


def summarise(results: Sequence[EpisodeResult], planned: int) -> Summary:
    """Return the figures of the episodes in `results`.

    Args:
        results: Finished episodes.
        planned: Episodes in the plan, at least as many.
    """
    n = len(results)
    successes = sum(result.status == "success" for result in results)
    errors = sum(result.status == "error" for result in results)
    held = [result.success_held for result in results]
    low, high, _ = wilson(successes, n)
    rate = successes / max(n, 1)
    return Summary(
        planned=planned,
        episodes=n,
        successes=successes,
        errors=errors,
        success_rate=rate,
        wilson_95=(low, high),
        at_least_95=clopper_pearson(successes, n).low,
        rate_if_errors_succeeded=(successes + errors) / max(n, 1),
        success_once=sum(result.success_once for result in results),
        success_held=None if not held or None in held else sum(map(bool, held)),
        mean_steps=sum(result.steps for result in results) / max(n, 1),
        smallest_difference=smallest_difference(n, independent_discordance(rate, rate)),
        failures=dict(Counter(result.failure for result in results if result.failure).most_common()),
    )


def format_summary(summary: Summary) -> str:
    """Return the figures as lines of text for people."""
    n = summary.episodes
    runs_on = summary.success_held is not None
    low, high = (100 * end for end in summary.wilson_95)
    headline = (
        f"{summary.successes}/{n}   {100 * summary.success_rate:.1f} %   95 % interval [{low:.1f}, {high:.1f}] (Wilson)"
    )
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
        rows.append(("incomplete", f"{n} of {summary.planned} planned episodes ended"))
    return "\n".join(f"{name:<20} {text}" for name, text in rows)


def smallest_difference_text(summary: Summary) -> str:
    """Return how small a difference from another policy the run could have seen, in words."""
    n = summary.episodes
    if summary.smallest_difference is None:
        return f"nothing: {n} episodes are too few for any difference"
    least = points_text(summary.smallest_difference)
    return f"{least} pp or more (80 % power, paired with an equally good policy on the same {n} episodes)"
