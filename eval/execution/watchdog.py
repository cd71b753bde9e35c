"""Watchdog: detects that a policy or an environment does not answer.

A call that hangs in this process cannot be interrupted. So the watchdog warns, and after the timeout it ends the
process. Finished episodes are on disk by then. A host in another interpreter that hangs is killed instead, and its
episodes run again.
"""

from __future__ import annotations

import os
import sys
import threading
from math import isfinite
from pathlib import Path
from types import TracebackType

from eval.episodes.pulse import PARTY_NAMES, Pulse
from simscaleai.command_line import printable
from simscaleai.hosting.process import kill_busy_hosts

WARN_SECONDS = 15.0
"""Time without an answer after which the watchdog warns for the first time [s]."""

LATER = 4
"""Factor by which the time until the next warning grows, so that a slow policy causes few warnings."""

EXIT_CODE = 1
"""Exit code of a run that ends because of a timeout: some episodes could not be run."""

_SECONDS_BETWEEN_CHECKS = 0.5


class Watchdog:
    """Watches a `Pulse` from a thread of its own, for as long as the `with` block lasts."""

    def __init__(self, pulse: Pulse, folder: Path, timeout: float, *, warn_after: float = WARN_SECONDS) -> None:
        """Prepare to watch.

        Args:
            pulse: Says which party must answer, and since when.
            folder: Folder of the run, for the message.
            timeout: Time without an answer after which the process ends [s]; infinity only to warn.
            warn_after: Time without an answer after which a warning is printed [s].
        """
        self._pulse, self._folder, self._timeout, self._warn_after = pulse, folder, timeout, warn_after
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        warn_after = self._warn_after
        while not self._ended.wait(min(_SECONDS_BETWEEN_CHECKS, self._timeout / 4)):
            if self._pulse.overdue(self._timeout) and not kill_busy_hosts():
                self._end_process()
            if self._pulse.overdue(warn_after):
                end = f"; the run ends after {self._timeout:g} s (--timeout)" if isfinite(self._timeout) else ""
                print(f"warning: {self._text(warn_after)}{end}", file=sys.stderr, flush=True)
                warn_after *= LATER

    def _text(self, seconds: float) -> str:
        party = PARTY_NAMES.get(self._pulse.overdue(seconds), "policy")
        slots = ", ".join(map(str, self._pulse.slots[:8])) + (", …" if len(self._pulse.slots) > 8 else "")
        return f"the {party} has not answered for {seconds:g} s; slots {slots} wait"

    def _end_process(self) -> None:
        folder = printable(str(self._folder))
        print(
            f"error: {self._text(self._timeout)}. The run ends; finished episodes are in {folder}. "
            "Add --resume to continue, and --workers 2 to kill calls that hang and try them again",
            file=sys.stderr,
            flush=True,
        )
        sys.stdout.flush()
        os._exit(EXIT_CODE)
