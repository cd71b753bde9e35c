"""Names of the arrays of an episode. An export keeps them, because LeRobot uses the same names."""

from __future__ import annotations

ACTION = "action"
"""Array of the actions to imitate."""

VECTOR_PREFIX = "observation."
"""Start of the name of every array of an observed vector."""

IMAGE_PREFIX = "observation.images."
"""Beginning of the name of every array of images."""

PRIVILEGED_PREFIX = "privileged."
"""Beginning of an exported feature with simulator truth. Trainers take every feature that begins with `observation` as
an input of the policy."""


def vector_key(observation: str) -> str:
    """Return the name of the array that holds the vector `observation`, for example "observation.state"."""
    return VECTOR_PREFIX + observation


def image_key(camera: str) -> str:
    """Return the name of the array that holds the images of `camera`, for example "observation.images.front"."""
    return IMAGE_PREFIX + camera
