"""Layout of a robomimic file: where each array of ours stands in the group of a demonstration."""

from __future__ import annotations

from collections.abc import Iterable

from simscaleai.data.episode_file import DatasetError
from simscaleai.data.keys import ACTION, IMAGE_PREFIX, VECTOR_PREFIX

FILE_NAME = "demo.hdf5"
RECORD = "simscaleai"
"""Dataset that this package adds: needs, provenance, and the metadata of each episode, as JSON."""
RECORD_FORMAT = "simscaleai-robomimic"
IMAGE_SUFFIX = "_image"
GYM_TYPE = 2
"""`robomimic.envs.env_base.EnvType.GYM_TYPE`."""

_RESERVED = ("obs", "next_obs", "actions", "rewards", "dones", "states")


def places(keys: Iterable[str]) -> dict[str, str]:
    """Return the path of each array below the group of a demonstration.

    Raises:
        DatasetError: If the file cannot hold an array of this name, or two arrays would have one path.
    """
    found: dict[str, str] = {}
    for key in keys:
        place = _place(key)
        if place in found.values():
            raise DatasetError(f"robomimic cannot hold {key!r}: another array stands at {place!r}, too")
        found[key] = place
    return found


def _place(key: str) -> str:
    if key == ACTION:
        return "actions"
    if key.startswith(IMAGE_PREFIX):
        return _checked(f"obs/{key.removeprefix(IMAGE_PREFIX)}{IMAGE_SUFFIX}", key, 2)
    if key.startswith(VECTOR_PREFIX):
        return _checked(f"obs/{key.removeprefix(VECTOR_PREFIX)}", key, 2)
    return _checked(key, key, 1)


def _checked(place: str, key: str, depth: int) -> str:
    parts = place.split("/")
    if len(parts) != depth or not all(part.strip(".") for part in parts) or "\0" in place or parts[0] in _RESERVED[1:]:
        raise DatasetError(f"robomimic cannot hold an array called {key!r}")
    if depth == 1 and place in _RESERVED:
        raise DatasetError(f"robomimic cannot hold an array called {key!r}")
    return place
