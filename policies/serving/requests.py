"""Reads the requests of clients: one observation, a prompt, and the seeded extension or a dialect's endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.foreign.openpi.announcement import EXTENSION, PROMPT
from simscaleai.contract import Needs, Observation
from simscaleai.errors import SimScaleError

ENDPOINT = "endpoint"
"""Key with which clients of the RoboArena dialect say what they want: "infer" or "reset"."""

_LONGEST_TEXT = 4096
_LARGEST_INTEGER = 2**63 - 1


class BadRequest(SimScaleError):
    """A request that cannot be answered. The text says why in one line."""


@dataclass(frozen=True)
class Call:
    """The seeded extension of a request: one prediction of one episode of the client."""

    episode: str
    """Name of the episode, which no other client uses."""
    seed: int
    """Seed of the episode."""
    number: int
    """Number of the prediction in the episode, from 0. The prediction 0 begins the episode."""


def read_call(data: Mapping[str, Any]) -> Call | None:
    """Return the seeded extension of a request; None if the request has none.

    Raises:
        BadRequest: If the extension is incomplete or has values of other types.
    """
    given = data.get(EXTENSION)
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise BadRequest(f"expected {EXTENSION!r} as a map with episode, seed and call, got {type(given).__name__}")
    episode = given.get("episode")
    if not isinstance(episode, str) or not 0 < len(episode) <= _LONGEST_TEXT:
        raise BadRequest(f"expected the episode as a text of 1 to {_LONGEST_TEXT} characters, got {episode!r:.60}")
    return Call(episode, _natural(given, "seed"), _natural(given, "call"))


def read_prompt(data: Mapping[str, Any], needs: Needs) -> str:
    """Return the instruction of a request; "" if there is none and the policy reads none.

    Raises:
        BadRequest: If the instruction is missing, too long, or no text.
    """
    prompt = data.get(PROMPT, "")
    if not isinstance(prompt, str) or len(prompt) > _LONGEST_TEXT:
        raise BadRequest(
            f"expected {PROMPT!r} as a text of at most {_LONGEST_TEXT} characters, got {type(prompt).__name__}"
        )
    if needs.instruction and not prompt.strip():
        raise BadRequest(f"expected the instruction as a text under {PROMPT!r}, got none")
    return prompt


def read_observation(data: Mapping[str, Any], needs: Needs) -> Observation:
    """Return the arrays that the policy needs: float32 vectors and uint8 images, without a leading axis for rows.

    Other entries of the request are ignored.

    Raises:
        BadRequest: If an array is missing, or has another shape or kind of numbers.
    """
    history = (needs.history,) if needs.history > 1 else ()
    vectors = {key: _vector(data, key, (*history, layout.size)) for key, layout in needs.vectors.items()}
    return {**vectors, **{key: _image(data, key, (*history, *size, 3)) for key, size in needs.cameras.items()}}


def request_bytes(needs: Needs) -> int:
    """Return the size of the arrays of a request [bytes], with vectors as float64."""
    vectors = sum(8 * layout.size for layout in needs.vectors.values())
    return needs.history * (vectors + sum(3 * height * width for height, width in needs.cameras.values()))


def _vector(data: Mapping[str, Any], key: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    given = data.get(key)
    if not (isinstance(given, np.ndarray) and given.shape == shape and given.dtype.kind in "fiu"):
        raise BadRequest(f"expected {key!r} as an array of numbers of shape {shape}, got {_kind(given)}")
    with np.errstate(over="ignore"):
        return given.astype(np.float32)


def _image(data: Mapping[str, Any], key: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    given = data.get(key)
    if not (isinstance(given, np.ndarray) and given.shape == shape and given.dtype == np.uint8):
        raise BadRequest(f"expected the image {key!r} as a uint8 array of shape {shape}, got {_kind(given)}")
    return given


def _kind(given: object) -> str:
    if isinstance(given, np.ndarray):
        return f"{given.dtype} of shape {given.shape}"
    return "none" if given is None else type(given).__name__


def _natural(given: Mapping[Any, Any], name: str) -> int:
    value = given.get(name)
    if type(value) is not int or not 0 <= value <= _LARGEST_INTEGER:
        raise BadRequest(f"expected {name} as an integer of at least 0, got {value!r:.60}")
    return value
