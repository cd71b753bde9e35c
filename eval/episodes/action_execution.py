"""Execution of chunks of actions: which action each slot takes next, and when the policy is asked for a new chunk.

A policy answers with a chunk of H actions. Either the first few are executed before the policy is asked again
(receding horizon), or the policy is asked at every step and overlapping chunks are averaged (temporal ensembling).
With latency, a chunk arrives some control steps after the policy was asked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simscaleai.contract import ActionSpec
from simscaleai.errors import SimScaleError
from simscaleai.perturbation import Axis, Magnitude, magnitude_in

LATENCY = Axis(
    name="latency",
    unit="ms",
    magnitudes=(50, 100, 200, 350, 500),
    changes="time",
    is_signed=False,
    limit=60_000,
    summary="Time from a look of the policy to the first action of its answer, rounded up to control steps.",
)
"""The axis that `LateExecutor` carries out."""

_ROUNDING = 1e-6
"""Tolerance [control steps] for a latency that was computed from a number of control steps."""


class ActionExecutor(ABC):
    """Turns chunks into actions, separately for each slot."""

    @abstractmethod
    def begin(self, slots: NDArray[np.intp]) -> None:
        """Drop what is left of earlier chunks in `slots`."""

    @abstractmethod
    def needs_look(self, slots: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return in which of `slots` the policy must be asked before the next step, shape (n,)."""

    @abstractmethod
    def add(self, slots: NDArray[np.intp], chunks: NDArray[np.float32], current: int = 0) -> None:
        """Add new chunks (n, H, A), whose action number `current`, from 0, is for the current step.

        Raises:
            SimScaleError: If a chunk is shorter than the number of actions to execute.
        """

    @abstractmethod
    def has_action(self, slots: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return which of `slots` have an action for the current step, shape (n,)."""

    @abstractmethod
    def next_actions(self, slots: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the next action of each of `slots`, which must have one, shape (n, A), and advance by one step."""


def make_executor(options: Mapping[str, Any], num_slots: int, action_size: int) -> ActionExecutor:
    """Return the executor that the `options` of a policy select.

    Args:
        options: `n_action_steps`, how many actions of a chunk to execute (by default all), and `synchronous`, see
            `ChunkQueue`; or `ensemble_decay`, see `TemporalEnsemble`.
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
    return ChunkQueue(steps, num_slots, action_size, synchronous=bool(options.get("synchronous")))


class ChunkQueue(ActionExecutor):
    """Receding horizon: executes the first `n_action_steps` actions of each chunk, then asks for the next chunk."""

    def __init__(
        self, n_action_steps: int | None, num_slots: int, action_size: int, *, synchronous: bool = False
    ) -> None:
        """Execute `n_action_steps` actions of each chunk; None for all of them.

        Until a late chunk arrives, the rest of the old one is executed, unless the queue is `synchronous`.
        """
        self._n_action_steps, self._synchronous = n_action_steps, synchronous
        self._chunks = np.zeros((num_slots, 1, action_size), dtype=np.float32)  # grows with the chunks that come
        self._next, self._end = np.zeros(num_slots, dtype=np.intp), np.zeros(num_slots, dtype=np.intp)
        self._look = np.zeros(num_slots, dtype=np.intp)
        """Number of actions of the chunk after which the policy is asked again."""

    def begin(self, slots: NDArray[np.intp]) -> None:
        """Drop what is left of earlier chunks in `slots`."""
        self._next[slots] = self._end[slots] = self._look[slots] = 0

    def needs_look(self, slots: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return in which of `slots` so many actions of the chunk were executed, shape (n,)."""
        return np.asarray(self._next[slots] >= self._look[slots])

    def add(self, slots: NDArray[np.intp], chunks: NDArray[np.float32], current: int = 0) -> None:
        """Add new chunks (n, H, A), whose action number `current`, from 0, is for the current step."""
        horizon = chunks.shape[1]
        steps = horizon if self._n_action_steps is None else self._n_action_steps
        if steps > horizon:
            raise SimScaleError(f"expected n_action_steps of 1 to {horizon}, the length of a chunk; got {steps}")
        if horizon > self._chunks.shape[1]:
            longer = np.zeros((len(self._chunks), horizon, self._chunks.shape[2]), dtype=np.float32)
            longer[:, : self._chunks.shape[1]] = self._chunks
            self._chunks = longer
        self._chunks[slots, :horizon] = chunks
        self._next[slots], self._look[slots] = current, steps
        self._end[slots] = steps if self._synchronous else horizon

    def has_action(self, slots: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return which of `slots` have an action left, shape (n,); unless synchronous, also beyond `n_action_steps`."""
        return np.asarray(self._next[slots] < self._end[slots])

    def next_actions(self, slots: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the next action of each of `slots`, which must have one, shape (n, A), and advance by one step."""
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

    def add(self, slots: NDArray[np.intp], chunks: NDArray[np.float32], current: int = 0) -> None:
        """Add new chunks (n, H, A), whose action number `current`, from 0, is for the current step."""
        for slot, chunk in zip(slots.tolist(), chunks[:, current:], strict=True):
            if len(chunk):
                self._chunks[slot].append(chunk.copy())

    def has_action(self, slots: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return in which of `slots` a chunk has an action for the current step, shape (n,)."""
        return np.array([bool(self._chunks[slot]) for slot in slots.tolist()])

    def next_actions(self, slots: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the average prediction for the current step, shape (n, A), and advance by one step."""
        return np.stack([self._average(slot) for slot in slots.tolist()])

    def _average(self, slot: int) -> NDArray[np.float32]:
        predictions = np.stack([chunk[0] for chunk in self._chunks[slot]]).astype(np.float64)
        weights = np.exp(-self._decay * np.arange(len(predictions)))
        average = (weights[:, None] * predictions).sum(axis=0) / weights.sum()
        self._chunks[slot] = [chunk[1:] for chunk in self._chunks[slot] if len(chunk) > 1]
        return np.asarray(average, dtype=np.float32)


def latency_steps(perturbation: Mapping[str, Magnitude] | None, control_hz: float) -> int:
    """Return the latency of an episode in control steps, at least 0.

    Args:
        perturbation: Perturbation of the episode.
        control_hz: Control steps per second.
    """
    milliseconds = magnitude_in(perturbation, LATENCY)
    return max(0, ceil(milliseconds * control_hz / 1000 - _ROUNDING))


@dataclass
class _LateChunk:
    """The answer of a policy that has not arrived yet."""

    chunk: NDArray[np.float32]
    wait: int
    """Control steps until it arrives."""
    executed: int = 0
    """Actions of the old chunk that were executed since the look."""


class LateExecutor:
    """Hands each chunk to another executor a few control steps after the policy was asked, separately for each slot.

    Time is counted in control steps, so results do not depend on the speed of the machine. The rules, for a latency of
    d control steps:

    * The policy is asked when it would be asked without latency. It answers d steps later, and is not asked meanwhile.
    * While it computes, the rest of the old chunk runs on, also beyond `n_action_steps`. Its actions replace as many of
      the new chunk, which begins with the action after them. So every action is executed at the time it was meant for.
      With the option `synchronous`, the old chunk ends after `n_action_steps`.
    * When the old chunk ends too early, the robot is idle as `ActionSpec.idle` says: zeros for displacements, the last
      action for absolute targets and for `ActionSpec.held`. An idle step replaces no action of the new chunk, since
      the robot has not moved.
    * The first chunk of an episode is not late: a robot stands still until its policy is ready.

    So a policy whose chunks are longer than what it executes of them moves without a break, as with asynchronous
    inference. A policy that is `synchronous`, or executes whole chunks, or chunks of one action, stops between them, as
    with synchronous inference.

    Sources: Black et al. 2025, Real-Time Execution of Action Chunking Flow Policies: the old chunk runs on, and the
    first d actions of the new one come too late. Chi et al. 2024, Universal Manipulation Interface: actions whose time
    has passed are dropped.
    """

    def __init__(self, executor: ActionExecutor, num_slots: int, action: ActionSpec) -> None:
        """Delay the chunks that `executor` gets.

        Args:
            executor: Turns chunks into actions.
            num_slots: Number of slots, N.
            action: Says what is sent while no action is available.
        """
        self._executor = executor
        self._steps = np.zeros(num_slots, dtype=np.intp)
        self._is_first = np.zeros(num_slots, dtype=bool)
        self._last = np.zeros((num_slots, action.size), dtype=np.float32)
        self._repeated = np.array([action.idle == "repeat" or name in action.held for name in action.names])
        self._late: dict[int, _LateChunk] = {}
        """Slot to the chunk that its policy is computing."""

    def begin(self, slots: NDArray[np.intp], steps: Sequence[int]) -> None:
        """Begin episodes with a latency of `steps` control steps each, and drop what is left of earlier ones."""
        self._steps[slots], self._is_first[slots] = steps, True
        for slot in slots.tolist():
            self._late.pop(slot, None)
        self._executor.begin(slots)

    def needs_look(self, slots: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return in which of `slots` the policy must be asked before the next step, shape (n,)."""
        wanted = self._executor.needs_look(slots)
        return wanted & [slot not in self._late for slot in slots.tolist()] if self._late else wanted

    def add(self, slots: NDArray[np.intp], chunks: NDArray[np.float32]) -> None:
        """Add new chunks (n, H, A), which the policy computed from the observation of the current step."""
        late = (self._steps[slots] > 0) & ~self._is_first[slots]
        self._is_first[slots] = False
        if not late.any():
            self._executor.add(slots, chunks)
            return
        self._executor.add(slots[~late], chunks[~late])
        for slot, chunk in zip(slots[late].tolist(), chunks[late], strict=True):
            self._late[slot] = _LateChunk(chunk, int(self._steps[slot]))

    def next_actions(self, slots: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the next action of each of `slots`, shape (n, A), and advance by one step."""
        if not self._steps[slots].any():
            return self._executor.next_actions(slots)
        available = self._executor.has_action(slots)
        actions = np.where(self._repeated, self._last[slots], np.float32(0))
        if available.any():
            actions[available] = self._executor.next_actions(slots[available])
        self._last[slots] = actions
        for slot, moved in zip(slots.tolist(), available.tolist(), strict=True):
            if slot in self._late:
                self._advance(slot, moved)
        return actions

    def _advance(self, slot: int, moved: bool) -> None:
        """Let one control step pass for the late chunk of `slot`, and hand it on if it has arrived."""
        late = self._late[slot]
        late.wait, late.executed = late.wait - 1, late.executed + moved
        if not late.wait:
            del self._late[slot]
            self._executor.add(np.array([slot]), late.chunk[None], late.executed)
