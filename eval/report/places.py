"""Positions of objects and goals at the start of episodes, computed by resetting the environment.

A run does not record them, because the start of an episode is a function of its seed and options.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.slots import SlotEnv, Start
from eval.episodes.results import EpisodeResult
from simscaleai.contract import TASK, EnvSpec, Feature, Observation
from simscaleai.errors import SimScaleError

logger = logging.getLogger(__name__)

MOST_EPISODES = 1000
"""Largest number of episodes on a map; more points would hide each other."""

_SLOTS = 50


@dataclass(frozen=True)
class Places:
    """Positions of one object or goal at the start of episodes, in the order of the episodes."""

    feature: str
    """Name of the feature of the environment's state."""
    frame: str
    """Frame of the positions, for example "world"."""
    xy: NDArray[np.float64]
    """First two coordinates of each position, shape (n, 2) [m]; in the world frame they are horizontal."""

    @property
    def title(self) -> str:
        """Title of a map of the positions."""
        return f"{self.feature.replace('_', ' ')} at the start"


def starting_places(environment: EnvSpec, results: Sequence[EpisodeResult]) -> tuple[Places, ...]:
    """Return the positions of objects and goals at the start of the episodes of `results`.

    Args:
        environment: The environment of the episodes, as their run recorded it.
        results: The episodes.

    Returns:
        One entry for each position in the privileged vectors; empty if the environment is not installed, has changed
        since the run, or raises.
    """
    from envs.registration import find_environment

    if not results:
        return ()
    try:
        registration = find_environment(environment.env_id)
        spec = registration.offer()
        positions = _positions(spec) if spec.digest == environment.digest else {}
        if not positions:
            return ()
        needs = spec.needs(*dict.fromkeys(positions.values()))
        env = registration.make(min(_SLOTS, len(results)), needs, True, None)
        try:
            observation = _beginnings(env, results)
        finally:
            env.close()
        found = [_places(spec, key, feature, observation) for feature, key in positions.items()]
    except SimScaleError:  # not installed, or without these targets
        return ()
    except (Exception, SystemExit) as error:  # an environment of others; the report is complete without maps
        logger.warning(
            "%s raised %s: %s; the report has no maps of it", environment.env_id, type(error).__name__, error
        )
        return ()
    return tuple(place for place in found if np.isfinite(place.xy).all())


def _positions(spec: EnvSpec) -> dict[Feature, str]:
    """Return each position in the privileged vectors with the key of its vector."""
    return {
        feature: key
        for key, layout in spec.vectors.items()
        for feature in layout.features
        if layout.privileged and feature.unit == "m" and feature.size >= 2 and feature.name.endswith("position")
    }


def _beginnings(env: SlotEnv, results: Sequence[EpisodeResult]) -> Observation:
    """Return the observations at the start of the episodes, one row for each episode."""
    parts: list[Observation] = []
    for first in range(0, len(results), env.num_slots):
        batch = results[first : first + env.num_slots]
        slots = np.arange(len(batch))
        env.reset(slots, [_start(result) for result in batch])
        parts.append(env.observe(slots, np.zeros(len(batch), dtype=bool)))
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _start(result: EpisodeResult) -> Start:
    chosen = {"target": result.target, TASK: result.task}
    return Start(result.seed, {name: value for name, value in chosen.items() if value is not None})


def _places(spec: EnvSpec, key: str, feature: Feature, observation: Observation) -> Places:
    positions = spec.vectors[key].get(observation[key], feature.name)
    return Places(feature.name, feature.frame, positions[:, :2].astype(np.float64))
