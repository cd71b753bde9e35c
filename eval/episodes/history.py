"""Windows of consecutive observations, for policies that look at more than the newest one."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from simscaleai.contract import Observation


class History:
    """Keeps the last few observations of every slot, also of steps at which the policy is not asked."""

    def __init__(self, length: int) -> None:
        """Keep `length` observations per slot."""
        self._length = length
        self._windows: dict[int, deque[Observation]] = {}

    def begin(self, slots: NDArray[np.intp]) -> None:
        """Drop the observations of earlier episodes in `slots`."""
        self._windows.update({slot: deque(maxlen=self._length) for slot in slots.tolist()})

    def add(self, slots: NDArray[np.intp], observation: Observation) -> None:
        """Add the newest observation of each of `slots`. The first one of an episode fills its window."""
        for row, slot in enumerate(slots.tolist()):
            window, newest = self._windows[slot], {key: rows[row] for key, rows in observation.items()}
            window.extend([newest] * (1 if window else self._length))

    def windows(self, slots: NDArray[np.intp]) -> Observation:
        """Return the windows of `slots`, arrays of shape (n, length, ...), the newest observation last."""
        kept = [self._windows[slot] for slot in slots.tolist()]
        if not kept:
            return {}
        return {key: np.stack([np.stack([each[key] for each in window]) for window in kept]) for key in kept[0][0]}
