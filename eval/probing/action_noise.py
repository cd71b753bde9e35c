"""A probe that adds noise to the actions of a policy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eval.episodes.probe import Episode, Probe
from simscaleai.contract import ActionSpec

_STREAM = 0x4E4F4953
"""Second seed, which makes the noise independent of the environment's random stream with the same episode seed."""

_UNDISTURBED = "gripper"


class DisplacementNoise(Probe):
    """Adds Gaussian noise to every number of an action except the gripper, then clips to the range of actions.

    The gripper gets no noise, since an object that is dropped at random teaches nothing. The noise of an episode is
    drawn from its seed. With the undisturbed actions as labels, a learner sees how to recover from disturbances.

    Source: Laskey et al. 2017, DART: Noise Injection for Robust Imitation Learning.
    """

    def __init__(self, standard_deviation: float, action: ActionSpec) -> None:
        """Disturb actions of the form `action`.

        Args:
            standard_deviation: Standard deviation of the noise, > 0, in units of the action.
            action: Names and ranges of the numbers of an action.
        """
        self._standard_deviation = standard_deviation
        self._disturbed = [index for index, name in enumerate(action.names) if name != _UNDISTURBED]
        self._low, self._high = np.array(action.low, np.float32), np.array(action.high, np.float32)
        self._streams: dict[int, np.random.Generator] = {}

    def begin(self, slots: NDArray[np.intp], episodes: Sequence[Episode]) -> None:
        """Start the noise of the new episodes in `slots`."""
        for slot, episode in zip(slots.tolist(), episodes, strict=True):
            self._streams[slot] = np.random.default_rng([episode.seed, _STREAM])

    def act(self, actions: NDArray[np.float32], slots: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return `actions` (n, A) with noise."""
        noise = np.zeros_like(actions)
        size = len(self._disturbed)
        noise[:, self._disturbed] = [
            self._streams[slot].normal(0, self._standard_deviation, size) for slot in slots.tolist()
        ]
        return np.asarray(np.clip(actions + noise, self._low, self._high))
