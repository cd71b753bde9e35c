"""Probes that add Gaussian noise, drawn from the seed of the episode: to actions, and to what a robot measures."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eval.episodes.probe import Episode, Probe
from simscaleai.contract import ActionSpec, Observation
from simscaleai.perturbation import Axis, axis_stream, magnitude_in

_STREAM = 0x4E4F4953
"""Second seed, which makes the noise independent of the environment's random stream with the same episode seed."""

_UNDISTURBED = "gripper"

STATE_NOISE = Axis(
    name="state.noise",
    unit="SI",
    magnitudes=(0.002, 0.005, 0.01, 0.02, 0.05),
    changes="observation",
    is_signed=False,
    summary="Adds noise to every number that the robot measures; standard deviation in its unit: m, rad, m/s, …",
)

ACTION_NOISE = Axis(
    name="action.noise",
    unit="%",
    magnitudes=(5, 10, 20, 30, 50),
    changes="action",
    is_signed=False,
    summary="Adds noise to actions, not to the gripper; standard deviation as a share of half of their range.",
    limit=1000,
)


class _Noise(Probe):
    """Draws noise for the slots whose episode has any."""

    def __init__(self) -> None:
        self._streams: dict[int, tuple[float, np.random.Generator]] = {}
        """Slot to the standard deviation and the random stream of its episode."""

    def begin(self, slots: NDArray[np.intp], episodes: Sequence[Episode]) -> None:
        """Start the noise of the new episodes in `slots`."""
        for slot, episode in zip(slots.tolist(), episodes, strict=True):
            self._streams.pop(slot, None)
            if deviation := self._deviation(episode):
                self._streams[slot] = deviation, self._stream(episode)

    @abstractmethod
    def _deviation(self, episode: Episode) -> float:
        """Return the standard deviation of the noise in `episode`; 0 for none."""

    @abstractmethod
    def _stream(self, episode: Episode) -> np.random.Generator:
        """Return the random stream of the noise in `episode`."""

    def _add(
        self, values: NDArray[np.float32], slots: NDArray[np.intp], scales: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Return `values` (n, ..., size) with noise where an episode has any; `scales` (size,) multiply it."""
        rows = [row for row, slot in enumerate(slots.tolist()) if slot in self._streams]
        entries = np.flatnonzero(scales)
        noisy = values.copy() if rows else values
        for row in rows:
            deviation, stream = self._streams[int(slots[row])]
            shape = (*values.shape[1:-1], len(entries))
            noise = stream.normal(0, deviation, shape) * scales[entries]
            noisy[row][..., entries] += noise.astype(np.float32)
        return noisy


class _ActionNoise(_Noise):
    """Adds noise to actions, and clips those that have noise to their range."""

    def __init__(self, action: ActionSpec, scales: NDArray[np.float64]) -> None:
        super().__init__()
        self._low, self._high = np.array(action.low, np.float32), np.array(action.high, np.float32)
        self._scales = scales

    def act(self, actions: NDArray[np.float32], slots: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return `actions` (n, A) with noise."""
        noisy = self._add(actions, slots, self._scales)
        rows = [slot in self._streams for slot in slots.tolist()]
        noisy[rows] = np.clip(noisy[rows], self._low, self._high)
        return noisy


class DisplacementNoise(_ActionNoise):
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
        super().__init__(action, np.array([float(name != _UNDISTURBED) for name in action.names]))
        self._standard_deviation = standard_deviation

    def _deviation(self, episode: Episode) -> float:
        return self._standard_deviation

    def _stream(self, episode: Episode) -> np.random.Generator:
        return np.random.default_rng([episode.seed, _STREAM])


class ActionNoise(_ActionNoise):
    """Carries out the axis `action.noise`. Numbers without a range, and those that are held, get no noise."""

    axes = (ACTION_NOISE,)

    def __init__(self, action: ActionSpec) -> None:
        """Disturb actions of the form `action`."""
        super().__init__(action, noise_scales(action))

    def _deviation(self, episode: Episode) -> float:
        return magnitude_in(episode.perturbation, ACTION_NOISE) / 100

    def _stream(self, episode: Episode) -> np.random.Generator:
        return axis_stream(episode.seed, ACTION_NOISE.name)


def noise_scales(action: ActionSpec) -> NDArray[np.float64]:
    """Return half of the range of each number of an action, 0 for numbers that `action.noise` leaves alone."""
    half = (np.array(action.high, np.float64) - np.array(action.low, np.float64)) / 2
    disturbed = np.isfinite(half) & [name not in action.held for name in action.names]
    return np.where(disturbed, half, 0.0)


class StateNoise(_Noise):
    """Carries out the axis `state.noise`."""

    axes = (STATE_NOISE,)

    def __init__(self, keys: Sequence[str]) -> None:
        """Disturb the vectors `keys`."""
        super().__init__()
        self._keys = tuple(keys)

    def observe(self, observation: Observation, slots: NDArray[np.intp]) -> Observation:
        """Return `observation` with noise."""
        return observation | {
            key: self._add(observation[key], slots, np.ones(observation[key].shape[-1])) for key in self._keys
        }

    def _deviation(self, episode: Episode) -> float:
        return magnitude_in(episode.perturbation, STATE_NOISE)

    def _stream(self, episode: Episode) -> np.random.Generator:
        return axis_stream(episode.seed, STATE_NOISE.name)
