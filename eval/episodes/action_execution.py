"""Execution of chunks of actions: which action each slot takes next, and when the policy is asked for a new chunk.

A policy answers with a chunk of H actions. Either the first few are executed before the policy is asked again
(receding horizon), or the policy is asked at every step and overlapping chunks are averaged (temporal ensembling).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simscaleai.errors import SimScaleError


class ActionExecutor(ABC):
    """Turns chunks into actions, separately for each slot."""

    @abstractmethod
    def begin(self, slots: NDArray[np.intp]) -> None:
        """Drop what is left of earlier chunks in `slots`."""

    @abstractmethod
    def needs_look(self, slots: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return in which of `slots` the policy must be asked before the next step, shape (n,)."""

    @abstractmethod
    def add(self, slots: NDArray[np.intp], chunks: NDArray[np.float32]) -> None:
        """Add new chunks (n, H, A), whose first action is for the current step.

        Raises:
            SimScaleError: If a chunk is shorter than the number of actions to execute.
        """

    @abstractmethod
    def next_actions(self, slots: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the next action of each of `slots`, shape (n, A), and advance by one step."""


def make_executor(options: Mapping[str, Any], num_slots: int, action_size: int) -> ActionExecutor:
    """Return the executor that the `options` of a policy select.

    Args:
        options: `n_action_steps`, how many actions of a chunk to execute (by default all), or `ensemble_decay`, see
            `TemporalEnsemble`.
        num_slots: Number of slots, N.
        action_size: Numbers per action, A.

    Raises:
        SimScaleError: If `n_action_steps` is below 1.
    """
    steps, decay = options.get("n_action_steps"), options.get("ensemble_decay")
    if decay is not None:
        return TemporalEnsemble(decay)
    if steps is not None and steps < 1:
        raise SimScaleError(f"expected n_action_steps of at least 1, got {steps}")
    return ChunkQueue(steps, num_slots, action_size)


class ChunkQueue(ActionExecutor):
    """Receding horizon: executes the first `n_action_steps` actions of each chunk, then asks for the next chunk."""

    def __init__(self, n_action_steps: int | None, num_slots: int, action_size: int) -> None:
        """Execute `n_action_steps` actions of each chunk; None for all of them."""
        self._n_action_steps = n_action_steps
        self._chunks = np.zeros((num_slots, 1, action_size), dtype=np.float32)  # grows with the chunks that come
        self._next = np.zeros(num_slots, dtype=np.intp)
        self._end = np.zeros(num_slots, dtype=np.intp)

    def begin(self, slots: NDArray[np.intp]) -> None:
        """Drop what is left of earlier chunks in `slots`."""
        self._next[slots] = self._end[slots] = 0

    def needs_look(self, slots: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return which of `slots` have no action left, shape (n,)."""
        return np.asarray(self._next[slots] >= self._end[slots])

    def add(self, slots: NDArray[np.intp], chunks: NDArray[np.float32]) -> None:
        """Add new chunks (n, H, A), whose first action is for the current step."""
        horizon = chunks.shape[1]
        steps = horizon if self._n_action_steps is None else self._n_action_steps
        if steps > horizon:
            raise SimScaleError(f"expected n_action_steps of 1 to {horizon}, the length of a chunk; got {steps}")
        if steps > self._chunks.shape[1]:
            longer = np.zeros((len(self._chunks), steps, self._chunks.shape[2]), dtype=np.float32)
            longer[:, : self._chunks.shape[1]] = self._chunks
            self._chunks = longer
        self._chunks[slots, :steps] = chunks[:, :steps]
        self._next[slots], self._end[slots] = 0, steps

    def next_actions(self, slots: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the next action of each of `slots`, shape (n, A), and advance by one step."""
        actions = self._chunks[slots, self._next[slots]]
        self._next[slots] += 1
        return actions


class TemporalEnsemble(ActionExecutor):
    """Asks for a chunk at every step and averages the predictions of all chunks for the current step.

    The prediction made i steps after the oldest one has the weight exp(−decay · i): with a positive decay the oldest
    prediction counts most, with 0 all count the same.

    Source: Zhao et al. 2023, Learning Fine-Grained Bimanual Manipulation with Low-Cost Hardware (ACT), § IV.B.
    """

    def __init__(self, decay: float) -> None:
        """Average with the weights exp(−decay · i)."""
        self._decay = decay
        self._chunks: dict[int, list[NDArray[np.float32]]] = {}

    def begin(self, slots: NDArray[np.intp]) -> None:
        """Drop the chunks of `slots`."""
        self._chunks.update({slot: [] for slot in slots.tolist()})

    def needs_look(self, slots: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return True for all of `slots`: every step asks for a chunk."""
        return np.ones(len(slots), dtype=bool)

    def add(self, slots: NDArray[np.intp], chunks: NDArray[np.float32]) -> None:
        """Add new chunks (n, H, A), whose first action is for the current step."""
        for slot, chunk in zip(slots.tolist(), chunks, strict=True):
            self._chunks[slot].append(chunk.copy())

    def next_actions(self, slots: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the average prediction for the current step, shape (n, A), and advance by one step."""
        return np.stack([self._average(slot) for slot in slots.tolist()])

    def _average(self, slot: int) -> NDArray[np.float32]:
        predictions = np.stack([chunk[0] for chunk in self._chunks[slot]]).astype(np.float64)
        weights = np.exp(-self._decay * np.arange(len(predictions)))
        average = (weights[:, None] * predictions).sum(axis=0) / weights.sum()
        self._chunks[slot] = [chunk[1:] for chunk in self._chunks[slot] if len(chunk) > 1]
        return np.asarray(average, dtype=np.float32)
