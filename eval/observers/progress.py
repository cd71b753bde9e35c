"""Shows how far a run is, and how it goes."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TextIO

from tqdm import tqdm

from eval.observers.base import Observer
from eval.results import EpisodeResult
from eval.statistics import confidence_sequence, wilson
from eval.stopping import InPlanOrder

SECONDS_BETWEEN_LINES = 10.0


class Progress(Observer):
    """Reports finished episodes, rate, remaining time and the running success rate with its interval.

    The success rate is that of the episodes before the first one still running: successes end sooner than failures, so
    the episodes that happen to have ended would flatter the policy.

    A bar on a terminal; elsewhere a plain line at most every `SECONDS_BETWEEN_LINES`.
    """

    def __init__(
        self,
        total: int,
        *,
        earlier: Sequence[EpisodeResult] = (),
        sequential: bool = False,
        stream: TextIO | None = None,
    ) -> None:
        """Begin to measure time.

        Args:
            total: Number of planned episodes.
            earlier: Results that are there already; they count in everything but the rate.
            sequential: Whether the run may end before its plan does; then the interval holds at every look.
            stream: Where to report, by default standard error.
        """
        self._stream = stream or sys.stderr
        self._total, self._earlier, self._done = total, len(earlier), len(earlier)
        self._interval = confidence_sequence if sequential else wilson
        self._remaining = "at most {:.0f} s left" if sequential else "{:.0f} s left"
        self._in_order, self._successes = InPlanOrder(), 0
        for result in earlier:
            self._count(result)
        self._bar = (
            tqdm(total=total, initial=self._done, unit="ep", file=self._stream, dynamic_ncols=True)
            if self._stream.isatty()
            else None
        )
        self._started = self._last_line = time.monotonic()

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """Count the episode."""
        self._done += 1
        self._count(result)
        if self._bar is not None:
            self._bar.set_postfix_str(self._rate_text(), refresh=False)
            self._bar.update()
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._print_line()

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()

    def _count(self, result: EpisodeResult) -> None:
        self._successes += sum(due.status == "success" for due in self._in_order.add(result))

    def _print_line(self) -> None:
        self._last_line = time.monotonic()
        rate = (self._done - self._earlier) / (self._last_line - self._started)
        remaining = self._remaining.format((self._total - self._done) / rate)
        text = f"{self._done}/{self._total} episodes, {rate:.2f}/s, {remaining}, {self._rate_text()}"
        print(text, file=self._stream, flush=True)

    def _rate_text(self) -> str:
        n = self._in_order.n
        if not n:
            return "success not yet known"
        low, high, level = self._interval(self._successes, n)
        share = f"{self._successes}/{n} {100 * self._successes / n:.0f} %"
        return f"success {share} [{100 * low:.0f}, {100 * high:.0f}] at {level:.0%}"
