"""What goes where between an environment and a policy server: requests from observations, chunks from replies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from policies.foreign.openpi.adapter import Adapter, Conversion, Gripper, ImageEntry, Part
from policies.foreign.openpi.announcement import ACTIONS, PROMPT, Announcement
from policies.foreign.openpi.images import resize_with_pad
from simscaleai.contract import EnvSpec, ImageSize, Layout, Needs, Observation
from simscaleai.errors import MismatchError, SimScaleError, UnknownNameError

Chunk = NDArray[np.float32]
"""Actions of the next H control steps, shape (H, A)."""


class Translation(Protocol):
    """What goes where between an environment and a server."""

    needs: Needs

    def request(self, seen: Observation, instruction: str) -> dict[str, Any]:
        """Return a request for the observations `seen` in one slot, and the `instruction` of its episode."""
        ...

    def session(self, name: str) -> dict[str, Any]:
        """Return what tells the server the `name` of the episode; nothing if the server does not want it."""
        ...

    def chunk(self, reply: Any) -> Chunk:
        """Return the actions in a reply.

        Raises:
            TypeError: If the reply holds something else.
        """
        ...


class NativeTranslation:
    """The mapping that a server of this project announces: its keys are those of the observations."""

    def __init__(self, announcement: Announcement, spec: EnvSpec) -> None:
        """Check that the actions have the same meaning on both sides.

        Raises:
            MismatchError: If they have not.
        """
        ours, theirs = spec.action, announcement.action
        if (ours.size, ours.meaning) != (theirs.size, theirs.meaning):  # a checkpoint knows no names and limits
            raise MismatchError([f"action: policy {theirs.in_words}; environment {ours.in_words}"])
        self.needs, self._size = announcement.needs, theirs.size

    def request(self, seen: Observation, instruction: str) -> dict[str, Any]:
        """Return the observations, and the instruction if the policy reads it."""
        return {**seen, PROMPT: instruction} if self.needs.instruction else dict(seen)

    def session(self, name: str) -> dict[str, Any]:
        """Return nothing: the extension for seeds names the episode."""
        return {}

    def chunk(self, reply: Any) -> Chunk:
        """Return the actions in a reply."""
        return read_actions(reply, ACTIONS, self._size)


class AdapterTranslation:
    """The mapping of an adapter, for one environment."""

    def __init__(self, adapter: Adapter, spec: EnvSpec) -> None:
        """Find what the adapter names among what the environment offers.

        Raises:
            UnknownNameError: If the environment has no such vector, entry or camera.
            SimScaleError: If the actions have different sizes on both sides.
        """
        self._adapter = adapter
        self._parts = {(each.group, each.key): [_reader(part, spec) for part in each.parts] for each in adapter.vectors}
        vectors = dict.fromkeys(part.vector for each in adapter.vectors for part in each.parts)
        self.needs = Needs(
            vectors={key: spec.vectors[key] for key in vectors},
            cameras=_drawn_sizes(adapter, spec),
            instruction=adapter.prompt is not None,
        )
        if adapter.action.taken != spec.action.size:
            raise SimScaleError(
                f"expected an adapter that gives the {spec.action.size} numbers of an action "
                f"({', '.join(spec.action.names)}), this one gives {adapter.action.taken}"
            )

    def request(self, seen: Observation, instruction: str) -> dict[str, Any]:
        """Return the observations under the keys of the adapter."""
        request: dict[str, Any] = {}
        for image in self._adapter.images:
            _put(request, image.group, image.key, _sent_image(image, seen[image.camera]))
        for (group, key), readers in self._parts.items():
            _put(request, group, key, np.concatenate([read(seen) for read in readers]))
        if self._adapter.prompt is not None:
            request[self._adapter.prompt] = instruction
        return request

    def session(self, name: str) -> dict[str, Any]:
        """Return the name of the episode under the key of the adapter, if it has one."""
        return {} if self._adapter.session is None else {self._adapter.session: name}

    def chunk(self, reply: Any) -> Chunk:
        """Return the actions in a reply, as the environment takes them."""
        action = self._adapter.action
        sent = read_actions(reply, action.key, action.size)
        chunk = sent[:, action.first : action.first + action.taken].copy()
        if action.scale:
            chunk *= np.array(action.scale, dtype=np.float32)
        if action.gripper:
            _convert_gripper(chunk, sent[:, action.first + action.gripper.entry], action.gripper)
        return chunk


# Observations


def _drawn_sizes(adapter: Adapter, spec: EnvSpec) -> dict[str, ImageSize]:
    """Return the size in which each camera is drawn: that of the adapter, or that of the environment if it is fixed.

    Raises:
        UnknownNameError: If the environment has no such camera.
        SimScaleError: If one camera would have to be drawn in two sizes.
    """
    sizes: dict[str, ImageSize] = {}
    for image in adapter.images:
        if image.camera not in spec.cameras:
            raise UnknownNameError(f"camera of {spec.env_id} (named by the adapter)", image.camera, spec.cameras)
        size = image.drawn or spec.cameras[image.camera] or image.size
        if sizes.setdefault(image.camera, size) != size:
            raise SimScaleError(f"expected one size in which camera {image.camera!r} is drawn, got two")
    return sizes


def _reader(part: Part, spec: EnvSpec) -> Callable[[Observation], NDArray[np.float32]]:
    """Return a function that reads `part` of an observation.

    Raises:
        UnknownNameError: If the environment has no such vector or entry.
        SimScaleError: If a part that is a quaternion has not four numbers.
    """
    if part.vector not in spec.vectors:
        raise UnknownNameError(f"vector of {spec.env_id} (named by the adapter)", part.vector, spec.vectors)
    places = _places(part, spec.vectors[part.vector])
    convert = _CONVERSIONS[part.convert]
    if part.convert != "none" and len(places) != 4:
        raise SimScaleError(f"expected a quaternion of 4 numbers for {part.convert}, got {len(places)} numbers")
    return lambda seen: convert(seen[part.vector][places])


def _places(part: Part, layout: Layout) -> list[int]:
    """Return the indices of the entries of `part` in the vector."""
    entries = {name: [place] for place, name in enumerate(layout.entry_names)}
    features = {each.name: list(range(layout.size))[layout.slice(each.name)] for each in layout.features}
    known = entries | features
    for name in part.entries:
        if name not in known:
            raise UnknownNameError(f"entry of the vector {part.vector!r} (named by the adapter)", name, features)
    return [place for name in part.entries or features for place in known[name]]


def _axis_angle(quaternion: NDArray[Any]) -> NDArray[np.float32]:
    """Return the axis times the angle [rad] of a rotation, as robosuite computes it. `quaternion` is (x, y, z, w)."""
    numbers = quaternion.astype(np.float64)
    cosine = np.clip(numbers[3], -1.0, 1.0)
    sine = np.sqrt(1.0 - cosine * cosine)
    if sine == 0.0:
        return np.zeros(3, dtype=np.float32)
    return np.asarray(numbers[:3] * 2.0 * np.arccos(cosine) / sine, dtype=np.float32)


_CONVERSIONS: dict[Conversion, Callable[[NDArray[Any]], NDArray[np.float32]]] = {
    "none": lambda numbers: numbers,
    "axis_angle_of_xyzw": _axis_angle,
    "axis_angle_of_wxyz": lambda numbers: _axis_angle(np.roll(numbers, -1)),
}


def _sent_image(entry: ImageEntry, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image (height, width, 3) as it is sent."""
    turned = image[::-1, ::-1] if entry.rotated else image
    sent = resize_with_pad(turned, entry.size)
    return sent.transpose(2, 0, 1) if entry.channels_first else sent


def _put(request: dict[str, Any], group: str, key: str, value: Any) -> None:
    (request.setdefault(group, {}) if group else request)[key] = value


# Actions


def read_actions(reply: Any, key: str, size: int) -> Chunk:
    """Return the actions in a reply, which is a map with `key`, or the array of actions itself.

    Raises:
        TypeError: If the reply has no actions, or not `size` numbers each.
    """
    expected = f"expected actions of shape (H, {size}) as {key!r} in the reply of the server"
    if isinstance(reply, dict) and key not in reply:
        raise TypeError(f"{expected}, it has {', '.join(map(repr, reply))[:200] or 'no key'}")
    try:
        actions = np.asarray(reply[key] if isinstance(reply, dict) else reply)
    except ValueError as error:  # lists of different lengths
        raise TypeError(f"{expected}, got {error}") from error
    if actions.dtype.kind not in "fiu" or actions.ndim != 2 or actions.shape[1] != size or not len(actions):
        raise TypeError(f"{expected}, got {actions.dtype} of shape {actions.shape}")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which is an invalid action
        return actions.astype(np.float32)


def _convert_gripper(chunk: Chunk, sent: Chunk, gripper: Gripper) -> None:
    """Replace the gripper's entry of `chunk`. What is not finite stays, since it is an invalid action."""
    if gripper.threshold is None:
        chunk[:, gripper.entry] *= gripper.sign
        return
    chosen = np.where(sent > gripper.threshold, gripper.above, gripper.below)
    chunk[:, gripper.entry] = np.where(np.isfinite(sent), chosen, np.nan)
