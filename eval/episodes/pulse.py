"""Pulse: says who a run is waiting for, and since when, so that a watchdog can find a party that hangs."""

from __future__ import annotations

import time
from collections.abc import Iterator, MutableSequence, Sequence
from contextlib import contextmanager

NOBODY, POLICY, ENVIRONMENT = 0, 1, 2
PARTY_NAMES = {POLICY: "policy", ENVIRONMENT: "environment"}


class Pulse:
    """Who is to answer now. One thread writes, others may read at any time.

    The numbers lie in two cells, which may be shared memory, so that another process can read them, too.
    """

    def __init__(self, cells: MutableSequence[float] | None = None) -> None:
        """Write into `cells`, two numbers; by default private ones."""
        self._cells: MutableSequence[float] = [float(NOBODY), 0.0] if cells is None else cells
        self.slots: tuple[int, ...] = ()
        """Slots that wait."""

    @contextmanager
    def waiting_for(self, party: int, slots: Sequence[int]) -> Iterator[None]:
        """Note that `slots` wait for `party`, one of `POLICY` and `ENVIRONMENT`, until the block ends."""
        self.slots = tuple(slots)
        self._cells[1] = time.monotonic()
        self._cells[0] = party
        try:
            yield
        finally:
            self._cells[0] = NOBODY

    def overdue(self, seconds: float) -> int:
        """Return the party that has not answered for `seconds`; `NOBODY` if there is none."""
        party, since = int(self._cells[0]), self._cells[1]
        return party if party and time.monotonic() - since > seconds else NOBODY
