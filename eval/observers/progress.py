"""Shows the progress of a run and its success rate so far."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TextIO

from tqdm import tqdm

from eval.episodes.observer import Observer
from eval.episodes.plan import WHOLE, Shard
from eval.episodes.results import EpisodeResult
from eval.observers.plan_order import InPlanOrder
from eval.statistics.sequential import rate_interval


class Progress(Observer):
    """Shows finished episodes, episodes per second, the remaining time, and the success rate with its interval.

    The success rate covers the episodes before the first one that still runs, see `InPlanOrder`. On a terminal the
    progress is a bar, elsewhere a line of text from time to time.
    """

    def __init__(
        self,
        total: int,
        *,
        earlier: Sequence[EpisodeResult] = (),
        sequential: bool = False,
        control_only: bool = False,
        shard: Shard = WHOLE,
        stream: TextIO | None = None,
        seconds_between_lines: float = 10.0,
    ) -> None:
        """Start to measure time.

        Args:
            total: Number of planned episodes, of a shard those that belong to it.
            earlier: Results from before the run was resumed. They count in everything except the episodes per second.
            sequential: Whether a stopping rule may end the run early. The interval is then valid at every look.
            control_only: Whether the success rate covers only episodes without an arm, the control of a battery.
            shard: Part of the plan that runs.
            stream: Where to report, by default standard error.
            seconds_between_lines: Shortest time between two lines of text [s].
        """
        self._stream = stream or sys.stderr
        self._seconds_between_lines = seconds_between_lines
        self._total, self._earlier, self._done = total, len(earlier), len(earlier)
        self._sequential = sequential
        self._remaining = "at most {:.0f} s left" if sequential else "{:.0f} s left"
        self._control_only = control_only
        self._in_order, self._counted, self._successes = InPlanOrder(shard), 0, 0
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
        elif time.monotonic() - self._last_line >= self._seconds_between_lines:
            self._print_line()

    def close(self) -> None:
        """Close the bar; its last state stays visible."""
        if self._bar is not None:
            self._bar.close()

    def _count(self, result: EpisodeResult) -> None:
        due = [each for each in self._in_order.add(result) if each.arm is None or not self._control_only]
        self._counted += len(due)
        self._successes += sum(each.status == "success" for each in due)

    def _print_line(self) -> None:
        self._last_line = time.monotonic()
        rate = (self._done - self._earlier) / (self._last_line - self._started)
        remaining = self._remaining.format((self._total - self._done) / rate)
        text = f"{self._done}/{self._total} episodes, {rate:.2f}/s, {remaining}, {self._rate_text()}"
        print(text, file=self._stream, flush=True)

    def _rate_text(self) -> str:
        n, name = self._counted, "control" if self._control_only else "success"
        if not n:
            return f"{name} not yet known"
        low, high, level = rate_interval(self._successes, n, sequential=self._sequential)
        share = f"{self._successes}/{n} {100 * self._successes / n:.0f} %"
        return f"{name} {share} [{100 * low:.0f}, {100 * high:.0f}] at {level:.0%}"
