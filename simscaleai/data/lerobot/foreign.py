"""Reads a LeRobotDataset of another project as demonstrations, with its own files as the only source of information."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simscaleai.contract import Feature, ImageSize, Layout, Needs
from simscaleai.data.episode_file import Arrays, DatasetError
from simscaleai.data.keys import ACTION, IMAGE_PREFIX, image_key, vector_key
from simscaleai.data.lerobot.layout import FRAME_COLUMNS, VERSION, LeRobotFeature
from simscaleai.data.lerobot.source import Episode, LeRobotSource

STATE, ENVIRONMENT_STATE = "state", "environment_state"
SUCCESS = "next.success"
UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How to read data of other projects."""

    rename: Mapping[str, str] = field(default_factory=dict)
    """Name of a feature in the source to its name in the new dataset."""
    cameras: tuple[str, ...] | None = None
    """Cameras to take, X for `observation.images.X`; None takes all."""
    image_size: ImageSize | None = None
    """Height and width that images are scaled to; None keeps their size."""


class ForeignDataset:
    """A LeRobotDataset of another project as demonstrations: vectors, cameras, instruction and action."""

    def __init__(self, source: LeRobotSource, options: ImportOptions) -> None:
        """Choose the vectors and cameras of `source` from which a policy can learn.

        Raises:
            DatasetError: If there is no state or no action, a name is wrong, or the cameras differ in size.
        """
        self._source, self._options = source, options
        self._name_in_source = _names_in_source(source.features, options.rename)
        for key in (vector_key(STATE), ACTION):
            self._check_vector(key)
        observed = [name for name in (STATE, ENVIRONMENT_STATE) if vector_key(name) in self._name_in_source]
        self._layouts = {name: self._layout(vector_key(name), name == ENVIRONMENT_STATE) for name in observed}
        self.cameras = self._choose_cameras()
        """Names of the chosen cameras."""
        self.image_size = self._common_size()
        """Height and width of the images of all chosen cameras; None without cameras."""

    def needs(self) -> Needs:
        """Return the needs that the files define. They name no environment, so no environment meets them."""
        action = " + ".join(feature.name for feature in self._layout(ACTION).features)
        return Needs(
            vectors=self._layouts,
            cameras={camera: self.image_size for camera in self.cameras if self.image_size is not None},
            instruction=any(episode.task for episode in self._source.episodes),
            environments={},
            action=f"{action}, meaning and units {UNKNOWN}",
            control_hz=self._source.fps,
            max_episode_steps=max(episode.length for episode in self._source.episodes),
        )

    def provenance(self) -> dict[str, Any]:
        """Return where the data comes from."""
        return {
            "imported": f"LeRobotDataset {VERSION}",
            "robot_type": self._source.info.get("robot_type"),
            "renamed": dict(self._options.rename),
            "image_size": None if self._options.image_size is None else list(self._options.image_size),
            "left_out": self._left_out(),
        }

    def arrays(self, episode: Episode) -> Arrays:
        """Return the arrays of one episode under their new names, vectors as float32 (T, n)."""
        arrays = {
            key: self._source.read(episode, self._name_in_source[key]).astype(np.float32).reshape(episode.length, -1)
            for key in (*map(vector_key, self._layouts), ACTION)
        }
        for key in map(image_key, self.cameras):
            arrays[key] = self._source.read(episode, self._name_in_source[key], image_size=self.image_size)
        return arrays

    def metadata(self, episode: Episode) -> dict[str, Any]:
        """Return the metadata of one episode. None means unknown."""
        success = None
        if SUCCESS in self._name_in_source:
            success = bool(self._source.read(episode, self._name_in_source[SUCCESS]).any())
        return {"seed": None, "environment": None, "instruction": episode.task, "success": success}

    def notes(self) -> list[str]:
        """Return notes about missing facts and their consequences for training and evaluation, one line each."""
        lines = [
            "the environment is unknown: policies can be trained on this data, but not evaluated here",
            "units and frames of state and action are unknown; actions beyond [-1, 1] are scaled by their range",
        ]
        if SUCCESS not in self._name_in_source:
            lines.append(f"there is no {SUCCESS}: whether an episode succeeded is unknown, training uses all episodes")
        if not any(episode.task for episode in self._source.episodes):
            lines.append("no episode has a task: policies trained on this data read no instruction")
        if self._left_out():
            lines.append(f"left out: {', '.join(self._left_out())}")
        if self.image_size is not None and self.image_size[0] != self.image_size[1]:
            lines.append(f"images are {'×'.join(map(str, self.image_size))}, models take squares: see --image-size")
        return lines

    def _left_out(self) -> list[str]:
        used = {*map(vector_key, self._layouts), *map(image_key, self.cameras), ACTION, SUCCESS}
        return sorted(
            theirs for ours, theirs in self._name_in_source.items() if ours not in used and theirs not in FRAME_COLUMNS
        )

    def _layout(self, key: str, privileged: bool = False) -> Layout:
        feature = self._source.features[self._name_in_source[key]]
        size = int(np.prod(feature["shape"]))
        names = _flat_names(feature.get("names"))
        if len(names) != size:
            return Layout((Feature(key, size, UNKNOWN, UNKNOWN),), privileged)
        return Layout(tuple(Feature(name, 1, UNKNOWN, UNKNOWN) for name in names), privileged)

    def _check_vector(self, key: str) -> None:
        if key not in self._name_in_source:
            raise DatasetError(
                f"{self._source.folder} has no {key!r}; there are {', '.join(sorted(self._source.features))}; "
                f"say which one it is with --rename SOURCE={key}"
            )
        feature = self._source.features[self._name_in_source[key]]
        if not feature["dtype"].startswith(("float", "int", "uint")):
            raise DatasetError(f"expected numbers in {self._name_in_source[key]!r}, got {feature['dtype']}")

    def _choose_cameras(self) -> tuple[str, ...]:
        available = tuple(
            key.removeprefix(IMAGE_PREFIX)
            for key, name in self._name_in_source.items()
            if key.startswith(IMAGE_PREFIX) and self._source.features[name]["dtype"] in ("image", "video")
        )
        chosen = available if self._options.cameras is None else self._options.cameras
        missing = [camera for camera in chosen if camera not in available]
        if missing:
            raise DatasetError(
                f"{self._source.folder} has no camera {missing[0]!r}; there are {', '.join(available) or 'none'}"
            )
        return chosen

    def _common_size(self) -> ImageSize | None:
        if not self.cameras or self._options.image_size is not None:
            return self._options.image_size if self.cameras else None
        sizes = {camera: self._height_and_width(camera) for camera in self.cameras}
        if len(set(sizes.values())) > 1:
            listing = ", ".join(f"{camera} {height}×{width}" for camera, (height, width) in sizes.items())
            raise DatasetError(f"cameras differ in size ({listing}); choose some with --cameras or give --image-size")
        return next(iter(sizes.values()))

    def _height_and_width(self, camera: str) -> ImageSize:
        feature = self._source.features[self._name_in_source[image_key(camera)]]
        by_name = dict(zip(feature.get("names") or ("height", "width", "channels"), feature["shape"], strict=False))
        try:
            return int(by_name["height"]), int(by_name["width"])
        except KeyError:
            raise DatasetError(f"{camera} does not say its height and width; give --image-size") from None


def _names_in_source(features: Mapping[str, LeRobotFeature], rename: Mapping[str, str]) -> dict[str, str]:
    """Map the new name of each feature to its name in the source."""
    wrong = [name for name in rename if name not in features]
    if wrong:
        raise DatasetError(f"--rename: there is no {wrong[0]!r}; there are {', '.join(sorted(features))}")
    names: dict[str, str] = {}
    for theirs in features:
        ours = rename.get(theirs, image_key("image") if theirs == "observation.image" else theirs)
        if ours in names:
            raise DatasetError(f"{names[ours]!r} and {theirs!r} would both be {ours!r}; rename one of them")
        names[ours] = theirs
    return names


def _flat_names(names: object) -> list[str]:
    """Return the names of the entries; some datasets store them in a list, some in a dictionary of lists."""
    if isinstance(names, Mapping):
        return [text for inner in names.values() for text in _flat_names(inner)]
    if isinstance(names, Iterable) and not isinstance(names, str):
        return [str(name) for name in names]
    return []
