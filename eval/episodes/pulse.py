"""Pulse: whether a run waits for the policy or the environment, and since when, so that a watchdog detects a hang."""

from __future__ import annotations

import time
from collections.abc import Iterator, MutableSequence, Sequence
from contextlib import contextmanager

NOBODY, POLICY, ENVIRONMENT = 0, 1, 2
PARTY_NAMES = {POLICY: "policy", ENVIRONMENT: "environment"}


class Pulse:
    """The call of the policy or the environment that is in progress. One thread writes, others may read at any time.

    The state is two numbers. They may be in shared memory, so that another process can read them, too.
    """

    def __init__(self, cells: MutableSequence[float] | None = None) -> None:
        """Keep the state in `cells`, two numbers; by default in a list of this object."""
        self._cells: MutableSequence[float] = [float(NOBODY), 0.0] if cells is None else cells
        self.slots: tuple[int, ...] = ()
        """Slots of the latest call."""

    @contextmanager
    def waiting_for(self, party: int, slots: Sequence[int]) -> Iterator[None]:
        """Note that `slots` wait for `party`, `POLICY` or `ENVIRONMENT`, until the block ends."""
        self.slots = tuple(slots)
        self._cells[1] = time.monotonic()
        self._cells[0] = party
        try:
            yield
        finally:
            self._cells[0] = NOBODY

    def restart(self) -> None:
        """Count the time of the call in progress anew."""
        self._cells[1] = time.monotonic()

    def overdue(self, seconds: float) -> int:
        """Return the party whose call has lasted longer than `seconds`; `NOBODY` if there is no such call."""
        party, since = int(self._cells[0]), self._cells[1]
        return party if party and time.monotonic() - since > seconds else NOBODY
