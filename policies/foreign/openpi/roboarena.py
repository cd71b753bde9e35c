"""The RoboArena dialect of the openpi protocol: requests name an endpoint, and metadata says which images are wanted.

Source: `roboarena/policy_server.py` of github.com/robo-arena/roboarena.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from simscaleai.contract import ImageSize
from simscaleai.errors import SimScaleError
from simscaleai.json_data import DAMAGE, damage_text, read_checked

_MOST_CAMERAS = 2


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """The metadata of a server of this dialect."""

    image_resolution: tuple[int, int] | None
    """Height and width of all images [px]; None for any."""
    needs_wrist_camera: bool = True
    n_external_cameras: int
    needs_stereo_camera: bool = False

    @property
    def images(self) -> set[str]:
        """Keys of the images that the server wants."""
        sides = ("left", "right") if self.needs_stereo_camera else ("left",)
        cameras = [f"exterior_image_{number}" for number in range(self.n_external_cameras)]
        cameras += ["wrist_image"] if self.needs_wrist_camera else []
        return {f"observation/{camera}_{side}" for camera in cameras for side in sides}


def speaks_roboarena(metadata: Mapping[str, Any]) -> bool:
    """Return whether a server with this `metadata` speaks the dialect."""
    return metadata.keys() >= {"image_resolution", "n_external_cameras", "action_space"}


def check_images(metadata: Mapping[str, Any], sent: Mapping[str, ImageSize]) -> None:
    """Check the images for a server of this dialect.

    Args:
        metadata: Metadata of the server; nothing is checked if the server speaks no RoboArena.
        sent: Key of each image that is sent to its height and width [px].

    Raises:
        SimScaleError: If the server wants other images, or its metadata is damaged.
    """
    if not speaks_roboarena(metadata):
        return
    names = {each.name for each in fields(_Wanted)}
    try:
        wanted = read_checked(_Wanted, {name: metadata[name] for name in metadata.keys() & names}, "metadata")
    except SimScaleError:
        raise
    except DAMAGE as error:
        raise SimScaleError(f"the metadata of the server is damaged: {damage_text(error)}") from error
    if not 0 <= wanted.n_external_cameras <= _MOST_CAMERAS:
        raise SimScaleError(
            f"expected 0 to {_MOST_CAMERAS} external cameras, the server has {wanted.n_external_cameras}"
        )
    if missing := sorted(wanted.images - sent.keys()):
        raise SimScaleError(
            f"the server wants the image {missing[0]!r}, which the adapter does not send; write an adapter that does"
        )
    for key, size in sent.items():
        if wanted.image_resolution not in (None, size):
            raise SimScaleError(f"the server wants images of {wanted.image_resolution}, the adapter sends {key} {size}")


def reset_request(session: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request that begins an episode."""
    return {"endpoint": "reset", **session}


def infer_request(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request for a chunk of actions."""
    return {"endpoint": "infer", **request}
