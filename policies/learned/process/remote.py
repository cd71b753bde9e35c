"""`RemotePolicy`, a learned policy whose model the inference process holds."""

from __future__ import annotations

from collections.abc import Sequence

from policies.base import Chunks, Observation, Policy, PolicyUnavailable, Slots
from policies.learned.process.board import Board, State
from policies.learned.rows import SlotMemory


class ModelError(Exception):
    """The model raised an exception in the inference process. The text is its traceback."""


class RemotePolicy(Policy):
    """Keeps the memory of the slots, and lets the inference process compute their chunks.

    Each call holds all that its chunks depend on. So it is computed again, with the same result, if the inference
    process ends meanwhile and another one begins.
    """

    def __init__(self, board: Board, seat: int) -> None:
        """Take part as the worker at `seat`."""
        self.needs, self.identity, self.options = board.outline.needs, board.outline.identity, board.outline.options
        self._board, self._seat = board, seat
        self._memory = SlotMemory(board.outline)

    def reset(self, slots: Slots, seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Store the instructions of new episodes and start their noise streams."""
        self._memory.reset(slots, seeds, instructions)

    def predict(self, observation: Observation, slots: Slots) -> Chunks:
        """Return the next chunk of each slot, (n, H, A), in units of the environment.

        Raises:
            ModelError: If the model raises an exception.
            PolicyUnavailable: If the inference process ends twice with this call.
        """
        board, seat = self._board, self._seat
        board.ask(seat, self._memory.rows(observation, slots))
        state = board.wait_for_answer(seat)
        chunks = board.chunks(seat)[: len(slots)].copy()
        board.set_state(seat, State.IDLE)
        if state is State.FAILED:
            raise ModelError(board.error(seat))
        if state is State.UNAVAILABLE:
            raise PolicyUnavailable("the inference process ended twice while it computed these rows")
        return chunks
