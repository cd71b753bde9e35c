"""What happens to the chunks of actions that a model predicts: executed in part, or averaged over time; per slot."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class ChunkQueue:
    """Executes the first `n_action_steps` actions of each chunk, then asks for the next one.

    Slots are independent: each has its own queue, which `clear` empties.
    """

    def __init__(self, n_action_steps: int) -> None:
        """Execute `n_action_steps` actions of each chunk, at least 1."""
        self._n_action_steps = n_action_steps
        self._queues: dict[int, list[NDArray[np.float32]]] = {}

    def clear(self, slot: int) -> None:
        """Forget the chunk of `slot`."""
        self._queues[slot] = []

    def needs_chunk(self, slot: int) -> bool:
        """Return whether `slot` has no action left to execute."""
        return not self._queues[slot]

    def add(self, slot: int, chunk: NDArray[np.float32]) -> None:
        """Take over a new chunk (H, A) for `slot`."""
        self._queues[slot] = list(chunk[: self._n_action_steps])

    def next_action(self, slot: int) -> NDArray[np.float32]:
        """Return the next action of `slot`, (A,)."""
        return self._queues[slot].pop(0)


class TemporalEnsemble:
    """Asks for a chunk at every step and averages all that earlier chunks said about the present one.

    The prediction made i steps after the oldest one has the weight exp(−decay · i): with a positive decay the oldest
    counts most, with 0 all count the same.

    Source: Zhao et al. 2023, Learning Fine-Grained Bimanual Manipulation with Low-Cost Hardware (ACT), § IV.B.
    """

    def __init__(self, decay: float) -> None:
        """Average with the weights exp(−decay · i)."""
        self._decay = decay
        self._chunks: dict[int, list[NDArray[np.float32]]] = {}

    def clear(self, slot: int) -> None:
        """Forget the chunks of `slot`."""
        self._chunks[slot] = []

    def needs_chunk(self, slot: int) -> bool:
        """Return True: every step asks for a chunk."""
        return True

    def add(self, slot: int, chunk: NDArray[np.float32]) -> None:
        """Take over a new chunk (H, A) that begins at the present step."""
        self._chunks[slot].append(chunk)

    def next_action(self, slot: int) -> NDArray[np.float32]:
        """Return the average of what the chunks of `slot` say about the present step, (A,), and move on."""
        predictions = np.stack([chunk[0] for chunk in self._chunks[slot]]).astype(np.float64)
        weights = np.exp(-self._decay * np.arange(len(predictions)))
        average = (weights[:, None] * predictions).sum(axis=0) / weights.sum()
        self._chunks[slot] = [chunk[1:] for chunk in self._chunks[slot] if len(chunk) > 1]
        return np.asarray(average, dtype=np.float32)
