"""Starts the inference process, and starts it again when it dies."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from threading import Thread

from policies.base import Policy
from policies.learned.adapter import PolicyAdapter
from policies.learned.devices import cores
from policies.learned.process.board import Board, State
from policies.learned.process.remote import RemotePolicy
from policies.learned.rows import PolicyOutline
from simscaleai.errors import SimScaleError
from simscaleai.hosting.parent import exit_with_parent

MAX_FALSE_STARTS = 3
"""Number of inference processes in a row that exit before they have loaded the policy; then the run ends."""

logger = logging.getLogger(__name__)

_SECONDS_TO_EXIT = 5.0


class InferenceProcess:
    """The process that holds a learned policy, and the seats of the workers that it computes for."""

    def __init__(
        self, context: SpawnContext, build: Callable[[], PolicyAdapter], outline: PolicyOutline, rows: int, seats: int
    ) -> None:
        """Prepare to start it.

        Args:
            context: Starts the process.
            build: Builds the policy in the process; must be picklable.
            outline: The policy that `build` must give.
            rows: The most rows of a worker's call.
            seats: The most workers at the same time, dead ones whose calls are still computed included.
        """
        self.board = Board(context, outline, rows, seats)
        self._context, self._build = context, build
        self._left: set[int] = set()
        """Seats of workers that have ended."""
        self._false_starts = 0
        self.is_ready = False
        """Whether the process has loaded the policy."""

    def start(self) -> None:
        """Start the process. It computes the calls that wait on the board."""
        self.connection, theirs = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(theirs, self._build, self.board), daemon=True)
        self.is_ready = False
        self._process.start()
        theirs.close()

    def receive(self) -> None:
        """Handle a message on `connection`, or the end of the process.

        Raises:
            SimScaleError: If the process finds the set-up wrong, or cannot be started.
        """
        try:
            error = self.connection.recv()
        except (EOFError, OSError):
            self.restart()
            return
        if error is not None:
            raise error
        self.is_ready, self._false_starts = True, 0

    def restart(self) -> None:
        """End the process if it lives, and start another one, which computes the unfinished calls again.

        Raises:
            SimScaleError: If none of the last few processes has loaded the policy.
        """
        self._end()
        if not self.is_ready:
            self._false_starts += 1
        code = self._process.exitcode
        if self._false_starts == MAX_FALSE_STARTS:
            raise SimScaleError(
                f"{MAX_FALSE_STARTS} inference processes in a row exited before they had loaded the policy (exit code "
                f"{code}, a negative one is a signal); run without --device to see why"
            )
        logger.warning("the inference process exited (exit code %s); another one computes its calls again", code)
        self._free_seats()
        self.board.put_back()
        self.start()

    def take_seat(self, *, alone: bool) -> int:
        """Give a worker a seat.

        Args:
            alone: Whether the calls of the worker shall not share a tile.
        """
        self._free_seats(State.ASKED, State.RUNNING)
        seat = self.board.take(alone=alone)
        if seat is None:  # the process does not finish the calls of dead workers
            self.restart()
            return self.take_seat(alone=alone)
        return seat

    def policy_at(self, seat: int) -> Callable[[], Policy]:
        """Return what makes the policy of the worker at `seat`."""
        return partial(RemotePolicy, self.board, seat)

    def leave_seat(self, seat: int) -> None:
        """Take back the seat of a worker that has ended."""
        self._left.add(seat)
        self._free_seats(State.ASKED, State.RUNNING)

    def _free_seats(self, *unless: State) -> None:
        """Free the seats of dead workers, except those in one of the states `unless`."""
        for seat in list(self._left):
            if self.board.state(seat) not in unless:
                self.board.set_state(seat, State.FREE)
                self._left.discard(seat)

    def blames(self, seat: int) -> bool:
        """Whether nobody but the worker at `seat` or its call can be the reason that it waits."""
        state = self.board.state(seat)
        return state not in (State.ASKED, State.RUNNING) or (state is State.RUNNING and self.board.runs_alone(seat))

    def stop(self) -> None:
        """End the process."""
        self._end()
        self.board.close()

    def _end(self) -> None:
        self._process.kill()
        self._process.join(_SECONDS_TO_EXIT)
        self.connection.close()


def _serve(connection: Connection, build: Callable[[], PolicyAdapter], board: Board) -> None:
    """Build the policy and compute until the parent ends. This is the entry point of the inference process."""
    from policies.learned.inference import repeatable_arithmetic
    from policies.learned.process.server import InferenceServer

    Thread(target=exit_with_parent, daemon=True).start()
    try:
        policy = build()
        if policy.outline != board.outline:
            raise SimScaleError("the policy has changed since the run began; start a new run")
    except SimScaleError as mistake:
        connection.send(SimScaleError(str(mistake)))
        return
    except Exception:  # otherwise the parent would only see that the process exited
        connection.send(RuntimeError(f"in the inference process:\n{traceback.format_exc()}"))
        return
    connection.send(None)
    with repeatable_arithmetic():
        InferenceServer(policy, board, cores()).run()
