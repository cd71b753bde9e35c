"""A probe of images: corrupted pictures, and cameras that are missing, frozen or swapped.

Every axis is there for all cameras together, and once more for each camera, as `image.blur.wrist`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eval.episodes.probe import Episode, Probe
from eval.probing.corruptions import CORRUPTIONS
from simscaleai.contract import Observation
from simscaleai.perturbation import Axis, Magnitude, axis_stream, with_direction


def _feed_axis(name: str, summary: str) -> Axis:
    return Axis(
        name=f"feed.{name}",
        unit="%",
        magnitudes=(20, 40, 60, 80, 100),
        changes="observation",
        is_signed=False,
        summary=f"{summary} at this share of the looks, drawn anew at each look.",
        limit=100,
    )


MISSING = _feed_axis("missing", "A camera gives a black picture")
FROZEN = _feed_axis("frozen", "A camera gives the picture of the look before again")
SWAPPED = _feed_axis("swapped", "A camera gives the picture of the next camera")
FEED_AXES = (SWAPPED, FROZEN, MISSING)
"""Axes of what cameras deliver, in the order in which they are applied, before all corruptions."""

IMAGE_AXES = (*(corruption.axis for corruption in CORRUPTIONS), *FEED_AXES)
"""All axes of images, for all cameras together."""


def for_camera(axis: Axis, camera: str) -> Axis:
    """Return `axis`, limited to one camera."""
    return replace(axis, name=f"{axis.name}.{camera}")


class _Change:
    """One axis in one camera of one episode."""

    def __init__(self, axis: Axis, magnitude: Magnitude, seed: int, camera: str) -> None:
        self._seed, self._name = seed, f"{axis.name}.{camera}"
        self.magnitude = with_direction(axis, magnitude, axis_stream(seed, axis.name))  # one direction in all cameras
        self.stream = self.new_stream()

    def new_stream(self) -> np.random.Generator:
        """Return the random stream of this axis, camera and episode, from its beginning."""
        return axis_stream(self._seed, self._name)

    def happens(self) -> bool:
        """Draw whether something happens at this look; the magnitude is its probability in percent."""
        return bool(self.stream.uniform(0, 100) < self.magnitude)


_Changes = Mapping[tuple[str, str], _Change]
"""What changes in one episode, by the name of the axis and the camera."""


class CameraFaults(Probe):
    """Carries out the axes of images for the cameras of one policy."""

    def __init__(self, cameras: Sequence[str]) -> None:
        """Change the images of `cameras`, in the order in which the policy gets them."""
        self._cameras = tuple(cameras)
        self.axes = (*IMAGE_AXES, *(for_camera(axis, camera) for camera in self._cameras for axis in IMAGE_AXES))
        self._changes: dict[int, _Changes] = {}
        """Slot to what changes in its episode, for the slots in which something does."""
        self._before: dict[int, dict[str, NDArray[np.uint8]]] = {}
        """Slot to the pictures that each camera gave at the look before."""

    def begin(self, slots: NDArray[np.intp], episodes: Sequence[Episode]) -> None:
        """Start the random streams of the new episodes in `slots`."""
        for slot, episode in zip(slots.tolist(), episodes, strict=True):
            self._changes.pop(slot, None)
            self._before.pop(slot, None)
            if changes := dict(self._find_changes(episode.seed, episode.perturbation or {})):
                self._changes[slot] = changes

    def observe(self, observation: Observation, slots: NDArray[np.intp]) -> Observation:
        """Return `observation` with the changed images."""
        rows = {row: slot for row, slot in enumerate(slots.tolist()) if slot in self._changes}
        if not rows:
            return observation
        images = {camera: observation[camera].copy() for camera in self._cameras}
        for row, slot in rows.items():
            seen = {camera: observation[camera][row] for camera in self._cameras}
            for camera, pictures in self._deliver(slot, seen).items():
                images[camera][row] = _corrupted(pictures, camera, self._changes[slot])
        return observation | images

    def _find_changes(
        self, seed: int, perturbation: Mapping[str, Magnitude]
    ) -> Iterator[tuple[tuple[str, str], _Change]]:
        for axis in IMAGE_AXES:
            for camera in self._cameras:
                magnitude = perturbation.get(for_camera(axis, camera).name, perturbation.get(axis.name))
                if magnitude is not None:
                    yield (axis.name, camera), _Change(axis, magnitude, seed, camera)

    def _deliver(self, slot: int, seen: Mapping[str, NDArray[np.uint8]]) -> dict[str, NDArray[np.uint8]]:
        """Return what each camera delivers in `slot`, before corruptions, when the scene looks as in `seen`."""
        delivered = {}
        for number, camera in enumerate(self._cameras):
            swapped = self._cameras[(number + 1) % len(self._cameras)]
            picture = seen[swapped] if self._happens(slot, SWAPPED, camera) else seen[camera]
            before = self._before.setdefault(slot, {})
            if self._happens(slot, FROZEN, camera):
                picture = before.get(camera, picture)
            before[camera] = picture.copy()
            delivered[camera] = np.zeros_like(picture) if self._happens(slot, MISSING, camera) else picture
        return delivered

    def _happens(self, slot: int, axis: Axis, camera: str) -> bool:
        change = self._changes[slot].get((axis.name, camera))
        return change is not None and change.happens()


def _corrupted(images: NDArray[np.uint8], camera: str, changes: _Changes) -> NDArray[np.uint8]:
    """Return the image (height, width, 3) of `camera`, or its history (length, height, width, 3), with corruptions."""
    corrupted = images.reshape(-1, *images.shape[-3:])
    for corruption in CORRUPTIONS:
        if change := changes.get((corruption.axis.name, camera)):
            stream = change.new_stream() if corruption.is_constant else change.stream
            corrupted = corruption.apply(corrupted, change.magnitude, stream)
    return corrupted.reshape(images.shape)
