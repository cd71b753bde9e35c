"""Draws a different seed for each episode, from the seed of the episode."""

from __future__ import annotations

from typing import Literal

import numpy as np

_STREAMS = {"language": 0x4C414E47, "vision": 0x56495349}
"""Second seed, which makes the draws independent of each other and of the random numbers of environment and policy."""


def other_seed(seed: int, stream: Literal["language", "vision"], among: range) -> int:
    """Return a seed other than `seed`, uniform in `among`. The same arguments give the same seed.

    Args:
        seed: Seed of the episode.
        stream: What the other seed is for. Draws for different streams are independent.
        among: Seeds to draw from, which start at 0.
    """
    draw = int(np.random.default_rng([seed, _STREAMS[stream]]).integers(len(among) - 1))
    return draw + (draw >= seed)
