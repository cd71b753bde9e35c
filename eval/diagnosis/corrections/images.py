"""Corrections of images: orientation, order of channels, range of values, and which camera is which."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.diagnosis.corrections.correction import Correction
from simscaleai.contract import Needs, Observation

Images = NDArray[Any]

_CONTENTS: dict[str, tuple[str, Callable[[Images], Images]]] = {
    "images.flipped": ("upside down", lambda images: images[..., ::-1, :, :]),
    "images.mirrored": ("mirrored, left for right", lambda images: images[..., ::-1, :]),
    "images.rotated": ("rotated by 180°", lambda images: images[..., ::-1, ::-1, :]),
    "images.channels": ("in BGR instead of RGB, or the reverse", lambda images: images[..., ::-1]),
}
"""Fault to what the policy makes of an image, and the function that undoes it."""

_RANGES: dict[str, Callable[[Images], Images]] = {
    "divided by 255 once too often": lambda images: images * np.float32(255),
    "not divided by 255": lambda images: images / np.float32(255),
    "in [0, 1], where the model expects [-1, 1]": lambda images: images * np.float32(2) - np.float32(255),
    "in [-1, 1], where the model expects [0, 1]": lambda images: (images + np.float32(255)) / np.float32(2),
}
"""What the policy makes of the values of pixels, to the function that undoes it. The policy then gets float32."""


def image_corrections(needs: Needs) -> Iterator[Correction]:
    """Yield the corrections of images for a policy with `needs`."""
    cameras = tuple(needs.cameras)
    if not cameras:
        return
    scopes = [cameras, *((camera,) for camera in cameras if len(cameras) > 1)]
    for fault, (what, undo) in _CONTENTS.items():
        for scope in scopes:
            where = "all cameras" if scope == cameras else f"camera {scope[0]}"
            yield Correction(
                fault=fault,
                cause=f"the model gets the images of {where} {what}",
                remedy=f"undo it where the policy prepares the images of {where}",
                observe=_changing(scope, undo),
            )
    for what, undo in _RANGES.items():
        yield Correction(
            fault="images.range",
            cause=f"the values of the pixels are {what}",
            remedy="scale the images exactly as in training",
            observe=_changing(cameras, undo),
        )
    yield from _exchanges(needs)


def _exchanges(needs: Needs) -> Iterator[Correction]:
    for first, second in combinations(needs.cameras, 2):
        if needs.cameras[first] == needs.cameras[second]:
            yield Correction(
                fault="cameras.swapped",
                cause=f"the model gets the images of camera {first} as those of camera {second}, and the reverse",
                remedy="give the model its cameras in the order of training",
                observe=_exchanging(first, second),
            )


def _changing(cameras: Sequence[str], change: Callable[[Images], Images]) -> Callable[[Observation], Observation]:
    def observe(observation: Observation) -> Observation:
        return observation | {camera: np.ascontiguousarray(change(observation[camera])) for camera in cameras}

    return observe


def _exchanging(first: str, second: str) -> Callable[[Observation], Observation]:
    def observe(observation: Observation) -> Observation:
        return observation | {first: observation[second], second: observation[first]}

    return observe
