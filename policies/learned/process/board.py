"""The board: memory that workers share with the process that computes for them, one seat for each worker.

A seat holds one call at a time: the rows that a worker asks about, then their chunks. Its state says whose turn it is.
A wake-up is a byte in a pipe and means only "look at the states". So a process that is killed leaves nothing that its
successor could misread: each write of a state is one aligned number, and its arrays are complete by then.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from enum import IntEnum
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.base import Chunks
from policies.learned.rows import PolicyOutline, Rows
from simscaleai.errors import SimScaleError

LONGEST_TEXT = 4096
"""Longest instruction, and longest account of an exception [bytes of UTF-8]."""

_ALIGNMENT = 8
_STATE, _ROWS, _TRIALS, _ALONE, _NUMBERS = range(5)

Field = tuple[str, Any, tuple[int, ...]]
"""Name, dtype and shape of an array of a seat."""


class State(IntEnum):
    """Whose turn it is at a seat."""

    FREE = 0
    """No worker has the seat."""
    IDLE = 1
    """The worker simulates."""
    ASKED = 2
    """The worker waits, and nobody has taken its call."""
    RUNNING = 3
    """The worker waits, and the inference process has taken its call."""
    ANSWERED = 4
    """The chunks are there."""
    FAILED = 5
    """The model raised an exception in a row of the call."""
    UNAVAILABLE = 6
    """The inference process died twice with this call, the second time while it ran alone."""


class Board:
    """The seats. Workers and the inference process get it when they are started (by `spawn`)."""

    def __init__(self, context: SpawnContext, outline: PolicyOutline, rows: int, seats: int) -> None:
        """Allocate the memory.

        Args:
            context: Starts the processes that share the board.
            outline: The policy.
            rows: The most rows of a call.
            seats: Number of seats.
        """
        self.outline, self.rows, self.seats = outline, rows, seats
        size = sum(_aligned(_size(field)) for field in self._fields())
        self._memory: Any = context.RawArray("B", size)
        self._asked = context.Pipe(duplex=False)
        self._answered = [context.Pipe(duplex=False) for _ in range(seats)]
        self._map()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_arrays"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._map()

    # States

    def state(self, seat: int) -> State:
        """Return the state of a seat."""
        return State(int(self._head(seat)[_STATE]))

    def set_state(self, seat: int, state: State) -> None:
        """Set the state of a seat. All that belongs to the state must have been written."""
        self._head(seat)[_STATE] = state

    def seats_in(self, *states: State) -> list[int]:
        """Return the seats whose state is one of `states`."""
        return np.flatnonzero(np.isin(self._arrays["head"][:, _STATE], states)).tolist()

    def take(self, *, alone: bool) -> int | None:
        """Give a worker a seat and return its number; None if all are taken.

        Args:
            alone: Whether none of its calls shall share a tile, or run beside another call.
        """
        free = self.seats_in(State.FREE)
        if not free:
            return None
        head = self._head(free[0])
        head[:] = 0
        head[_ALONE] = alone
        head[_STATE] = State.IDLE
        return free[0]

    def runs_alone(self, seat: int) -> bool:
        """Whether the call at a seat must not share a tile, or run beside another call."""
        head = self._head(seat)
        return bool(head[_ALONE] or head[_TRIALS])

    def put_back(self) -> None:
        """Offer the calls of an inference process that has ended to the next one, but refuse those that ran alone."""
        for seat in self.seats_in(State.RUNNING):
            head = self._head(seat)
            refused = self.runs_alone(seat)
            head[_TRIALS] += 1
            head[_STATE] = State.UNAVAILABLE if refused else State.ASKED
        for seat in range(self.seats):  # its last wake-ups may be lost
            self.wake_worker(seat)

    # Calls

    def ask(self, seat: int, rows: Rows) -> None:
        """Write a call, and wake the inference process.

        Raises:
            SimScaleError: If an observation has another shape or dtype than the policy needs, or a text is too long.
        """
        n = len(rows)
        for key, values in rows.observation.items():
            self._write(key, seat, values, n)
        for row, text in enumerate(rows.texts):
            self._write_text("text", (seat, row), text)
        if rows.noise is not None:
            self._arrays["noise"][seat, :n] = rows.noise
        if rows.seeds is not None:
            self._arrays["seed"][seat, :n] = rows.seeds
        head = self._head(seat)
        head[_ROWS], head[_TRIALS] = n, 0
        head[_STATE] = State.ASKED
        os.write(self._asked[1].fileno(), b"\0")

    def call(self, seat: int) -> Rows:
        """Return the rows that were asked about at a seat, as views."""
        n, outline = int(self._head(seat)[_ROWS]), self.outline
        return Rows(
            {key: self._arrays[f"observation.{key}"][seat, :n] for key in outline.needs.keys},
            [self._text("text", (seat, row)) for row in range(n)],
            None if outline.noise is None else self._arrays["noise"][seat, :n],
            self._arrays["seed"][seat, :n] if outline.draws_seeds else None,
        )

    def chunks(self, seat: int) -> Chunks:
        """Return the array for the chunks of a seat, (rows, H, A)."""
        chunks: Chunks = self._arrays["chunk"][seat]
        return chunks

    def answer(self, seat: int, error: str | None) -> None:
        """Say that the chunks of a call are written, or that the model raised `error`, and wake the worker."""
        if error is not None:
            self._write_text("error", (seat, 0), error[-(LONGEST_TEXT // 4) :])
        self.set_state(seat, State.ANSWERED if error is None else State.FAILED)
        self.wake_worker(seat)

    def error(self, seat: int) -> str:
        """Return what the model raised."""
        return self._text("error", (seat, 0))

    # Wake-ups

    def wake_worker(self, seat: int) -> None:
        """Let the worker at a seat look at its state."""
        os.write(self._answered[seat][1].fileno(), b"\0")

    def wait_for_calls(self) -> None:
        """Wait until a worker asks. One that has asked before may be meant."""
        os.read(self._asked[0].fileno(), 4096)

    def wait_for_answer(self, seat: int) -> State:
        """Wait until the call at a seat is over, and return its state."""
        while (state := self.state(seat)) in (State.ASKED, State.RUNNING):
            os.read(self._answered[seat][0].fileno(), 4096)
        return state

    def close(self) -> None:
        """Close the pipes of this process."""
        for connection in self._connections():
            connection.close()

    def _connections(self) -> Iterator[Connection]:
        for pipe in (self._asked, *self._answered):
            yield from pipe

    # Memory

    def _fields(self) -> Iterator[Field]:
        needs, noise, n = self.outline.needs, self.outline.noise, (self.seats, self.rows)
        yield "head", np.int64, (self.seats, _NUMBERS)
        for key, layout in needs.vectors.items():
            yield f"observation.{key}", np.float32, (*n, layout.size)
        for key, size in needs.cameras.items():
            yield f"observation.{key}", np.uint8, (*n, *size, 3)
        yield "text", np.uint8, (*n, LONGEST_TEXT)
        yield "text.length", np.int64, n
        yield "error", np.uint8, (self.seats, 1, LONGEST_TEXT)
        yield "error.length", np.int64, (self.seats, 1)
        yield "noise", np.float32, (*n, *(noise or (0,)))
        yield "seed", np.int64, n
        yield "chunk", np.float32, (*n, *self.outline.chunk)

    def _map(self) -> None:
        """Make the arrays, as views of the memory."""
        memory = np.frombuffer(self._memory, dtype=np.uint8)
        place = 0
        self._arrays: dict[str, NDArray[Any]] = {}
        for field in self._fields():
            name, dtype, shape = field
            self._arrays[name] = memory[place : place + _size(field)].view(dtype).reshape(shape)
            place += _aligned(_size(field))

    def _head(self, seat: int) -> NDArray[np.int64]:
        head: NDArray[np.int64] = self._arrays["head"][seat]
        return head

    def _write(self, key: str, seat: int, values: NDArray[Any], n: int) -> None:
        array = self._arrays[f"observation.{key}"][seat, :n]
        if values.dtype != array.dtype or values.shape != array.shape:
            raise SimScaleError(
                f"expected observation {key!r} as {array.dtype} {array.shape}, got {values.dtype} {values.shape}"
            )
        array[:] = values

    def _write_text(self, name: str, place: tuple[int, int], text: str) -> None:
        data = text.encode(errors="surrogatepass")
        if len(data) > LONGEST_TEXT:
            raise SimScaleError(f"expected an instruction of at most {LONGEST_TEXT} bytes, got {len(data)}")
        self._arrays[name][place][: len(data)] = np.frombuffer(data, dtype=np.uint8)
        self._arrays[f"{name}.length"][place] = len(data)

    def _text(self, name: str, place: tuple[int, int]) -> str:
        length = int(self._arrays[f"{name}.length"][place])
        return bytes(self._arrays[name][place][:length]).decode(errors="surrogatepass")


def _size(field: Field) -> int:
    _, dtype, shape = field
    return int(np.dtype(dtype).itemsize * math.prod(shape))


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
