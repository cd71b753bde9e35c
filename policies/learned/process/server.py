"""The inference process: computes the rows of all workers in full tiles, several tiles at a time.

A thread that is free takes the rows that wait, in the order of their calls, up to a tile; rows of different workers
share a tile. An exception in a shared tile is repeated with the rows of each call alone, so only the call that causes
it fails.
"""

from __future__ import annotations

import os
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Condition, Thread

import numpy as np

from policies.base import Chunks, PolicyUnavailable
from policies.learned.adapter import PolicyAdapter
from policies.learned.process.board import Board, State
from policies.learned.rows import Rows, joined


@dataclass(eq=False)
class _Call:
    """A call of a worker that has not been answered."""

    seat: int
    rows: Rows
    is_alone: bool
    """Whether nothing may be computed beside it."""
    taken: int = 0
    """Number of rows that a thread has taken."""
    done: int = 0
    """Number of rows that need no computing any more."""
    error: str | None = None
    """What the model raised."""


@dataclass(frozen=True)
class _Part:
    """Consecutive rows of a call."""

    call: _Call
    start: int
    stop: int

    @property
    def rows(self) -> Rows:
        return self.call.rows.part(self.start, self.stop)


class InferenceServer:
    """Computes the calls on a board."""

    def __init__(self, policy: PolicyAdapter, board: Board, cores: int) -> None:
        """Prepare to compute.

        Args:
            policy: The policy. Its `calls_at_once` is the number of threads that compute.
            board: The calls.
            cores: Number of cores that workers and this process share.
        """
        self._policy, self._board, self._cores = policy, board, cores
        self._changed = Condition()
        self._waiting: deque[_Call] = deque()
        """Calls with rows that no thread has taken."""
        self._computing = 0
        """Number of tiles that are being computed."""
        self._is_exclusive = False
        """Whether a call that must be alone is being computed."""

    def run(self) -> None:
        """Compute until this process ends."""
        for _ in range(self._policy.calls_at_once):
            Thread(target=self._compute_tiles, daemon=True).start()
        while True:
            self._collect()
            self._board.wait_for_calls()

    def _collect(self) -> None:
        """Add the calls that workers have made to those that wait."""
        with self._changed:
            known = {call.seat for call in self._waiting if not call.taken}
            for seat in self._board.seats_in(State.ASKED):
                if seat not in known:
                    self._waiting.append(_Call(seat, self._board.call(seat), self._board.runs_alone(seat)))
            self._changed.notify_all()

    def _compute_tiles(self) -> None:
        try:
            while True:
                parts = self._take()
                self._compute(parts)
                self._finish(parts)
        except BaseException:  # a thread that ended alone would leave its workers waiting
            traceback.print_exc()
            os._exit(1)

    def _take(self) -> list[_Part]:
        """Wait until a tile may be computed, and return its parts; all parts of a call that must be alone."""
        with self._changed:
            self._changed.wait_for(self._may_begin)
            self._collect()  # calls that came meanwhile fill the tile
            self._is_exclusive = self._waiting[0].is_alone
            self._computing += 1
            room = self._board.rows if self._is_exclusive else self._policy.rows_at_once
            parts = []
            while room and self._waiting and self._waiting[0].is_alone == self._is_exclusive:
                call = self._waiting[0]
                stop = min(call.taken + room, len(call.rows))
                parts.append(_Part(call, call.taken, stop))
                room -= stop - call.taken
                self._board.set_state(call.seat, State.RUNNING)
                call.taken = stop
                if stop == len(call.rows):
                    self._waiting.popleft()
                if self._is_exclusive:
                    break
            return parts

    def _may_begin(self) -> bool:
        """Return whether a thread may begin to compute.

        A tile that is not full begins only if a core is idle, or nothing else is being computed. Otherwise it would
        take time from a worker, and a worker that simulates may soon fill it.
        """
        if not self._waiting or self._is_exclusive:
            return False
        if self._computing == 0:
            return True
        if self._waiting[0].is_alone:
            return False
        rows = sum(len(call.rows) - call.taken for call in self._waiting if not call.is_alone)
        simulating = len(self._board.seats_in(State.IDLE))
        return rows >= self._policy.rows_at_once or self._computing + simulating < self._cores

    def _compute(self, parts: Sequence[_Part]) -> None:
        """Compute `parts` together; after an exception, each alone."""
        try:
            rows = joined([part.rows for part in parts])
            chunks = [self._policy.compute(tile) for tile in rows.split(self._policy.rows_at_once)]
            self._write(parts, np.concatenate(chunks))
        except PolicyUnavailable:  # only another process can use the device again
            raise
        except (Exception, SystemExit):
            if len(parts) == 1:
                parts[0].call.error = traceback.format_exc()
                return
            for part in parts:
                self._compute([part])

    def _write(self, parts: Sequence[_Part], chunks: Chunks) -> None:
        """Write the chunks of `parts`, which follow each other, to the seats of their calls."""
        row = 0
        for part in parts:
            end = row + part.stop - part.start
            self._board.chunks(part.call.seat)[part.start : part.stop] = chunks[row:end]
            row = end

    def _finish(self, parts: Sequence[_Part]) -> None:
        """Answer the calls whose last rows `parts` hold. A call that has failed needs no further rows."""
        with self._changed:
            self._computing -= 1
            self._is_exclusive = False
            for part in parts:
                call = part.call
                call.done += part.stop - part.start
                if call.error is not None and call.taken < len(call.rows):
                    self._waiting.remove(call)
                    call.done += len(call.rows) - call.taken
                    call.taken = len(call.rows)
                if call.done == len(call.rows):
                    self._board.answer(call.seat, call.error)
            self._changed.notify_all()
