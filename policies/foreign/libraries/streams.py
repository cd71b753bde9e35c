"""Random numbers of several episodes in one process: each slot continues its own, whatever other slots draw.

This file runs under Python 3.8 and imports NumPy alone. `host.py` loads it by its path.
"""

from __future__ import annotations

import random
import sys
from typing import Any

import numpy as np


class Streams:
    """The states of the generators of Python, NumPy and torch for each slot.

    Libraries draw from the generators of the process. Before a slot is asked, its states are put there.
    """

    def __init__(self) -> None:
        self._states: dict[int, tuple[Any, ...]] = {}
        self._current: int | None = None
        """Slot whose stream the generators of the process continue."""

    def begin(self, slot: int, seed: int) -> None:
        """Begin the stream of an episode with this seed in `slot`, and let everything draw from it."""
        self._keep()
        seed_generators(seed)
        self._current = slot

    def use(self, slot: int) -> None:
        """Let everything draw from the stream of `slot`.

        Raises:
            KeyError: If no episode has begun in `slot`.
        """
        if slot != self._current:
            states = self._states[slot]
            self._keep()
            _put(*states)
            self._current = slot

    def _keep(self) -> None:
        if self._current is not None:
            self._states[self._current] = _states()


def seed_generators(seed: int) -> None:
    """Seed the generators of Python, NumPy and, if it is loaded, torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)


def _states() -> tuple[Any, ...]:
    torch = sys.modules.get("torch")
    of_torch = torch and torch.get_rng_state()
    of_devices = torch.cuda.get_rng_state_all() if torch and torch.cuda.is_initialized() else None
    return random.getstate(), np.random.get_state(), of_torch, of_devices  # noqa: NPY002


def _put(of_python: Any, of_numpy: Any, of_torch: Any, of_devices: Any) -> None:
    random.setstate(of_python)
    np.random.set_state(of_numpy)  # noqa: NPY002
    torch = sys.modules.get("torch")
    if torch and of_torch is not None:
        torch.set_rng_state(of_torch)
    if torch and of_devices is not None:
        torch.cuda.set_rng_state_all(of_devices)
