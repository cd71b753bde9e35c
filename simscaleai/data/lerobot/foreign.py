"""What can be made of a LeRobotDataset about which nothing more is known than its files say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simscaleai.data.episode_file import Arrays, DatasetError
from simscaleai.data.lerobot.layout import IMAGE_PREFIX, VERSION, LeRobotFeature
from simscaleai.data.lerobot.source import Episode, LeRobotSource

STATE, TRUTH, ACTION, SUCCESS = "observation.state", "observation.environment_state", "action", "next.success"
UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How to read data that others made."""

    rename: Mapping[str, str] = field(default_factory=dict)
    """Their name of a feature to ours."""
    cameras: tuple[str, ...] | None = None
    """Cameras to take, X for `observation.images.X`; None takes all."""
    image_size: tuple[int, int] | None = None
    """Height and width that images are scaled to; None leaves them as they are."""


class ForeignDataset:
    """A LeRobotDataset seen as demonstrations for our policies: state, cameras, instruction and action."""

    def __init__(self, source: LeRobotSource, options: ImportOptions) -> None:
        """Find in `source` what a policy can learn from.

        Raises:
            DatasetError: If there is no state or no action, a name is wrong, or cameras do not fit together.
        """
        self._source, self._options = source, options
        self._theirs = _our_names(source.features, options.rename)
        for key in (STATE, ACTION):
            self._check_vector(key)
        self._vectors = [key for key in (STATE, TRUTH, ACTION) if key in self._theirs]
        self.cameras = self._choose_cameras()
        """Names of the cameras that are taken."""
        self.image_size = self._common_size()
        """Height and width of the images that are taken; None without."""

    def contract(self) -> dict[str, Any]:
        """Return a contract with all that is known; no environment can fulfil it."""
        return {
            "environments": {},
            "state": self._layout(STATE),
            "environment_state": self._layout(TRUTH) if TRUTH in self._theirs else None,
            "cameras": list(self.cameras),
            "image_size": None if self.image_size is None else list(self.image_size),
            "render_profile": None,
            "language": any(episode.task for episode in self._source.episodes),
            "action": " + ".join(entry["name"] for entry in self._layout(ACTION)) + f", meaning and units {UNKNOWN}",
            "control_hz": self._source.fps,
            "max_episode_steps": max(episode.length for episode in self._source.episodes),
        }

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
        """Return the arrays of one episode under our names, vectors as float32 (T, n)."""
        arrays = {
            key: self._source.read(episode, self._theirs[key]).astype(np.float32).reshape(episode.length, -1)
            for key in self._vectors
        }
        for camera in self.cameras:
            key = IMAGE_PREFIX + camera
            arrays[key] = self._source.read(episode, self._theirs[key], image_size=self.image_size)
        return arrays

    def metadata(self, episode: Episode) -> dict[str, Any]:
        """Return what the episode says about itself; None is unknown."""
        success = None
        if SUCCESS in self._theirs:
            success = bool(self._source.read(episode, self._theirs[SUCCESS]).any())
        return {"seed": None, "environment": None, "instruction": episode.task, "success": success}

    def gaps(self) -> list[str]:
        """Return what the files do not say and what was made of it, one line each."""
        lines = [
            "the environment is unknown: policies can be trained on this data, but not evaluated here",
            "units and frames of state and action are unknown; actions beyond [-1, 1] are scaled by their range",
        ]
        if SUCCESS not in self._theirs:
            lines.append(f"there is no {SUCCESS}: whether an episode succeeded is unknown, training takes all")
        if not any(episode.task for episode in self._source.episodes):
            lines.append("no episode has a task: policies trained on it read no instruction")
        if self._left_out():
            lines.append(f"left out: {', '.join(self._left_out())}")
        if self.image_size is not None and self.image_size[0] != self.image_size[1]:
            lines.append(f"images are {'×'.join(map(str, self.image_size))}, models take squares: see --image-size")
        return lines

    def _left_out(self) -> list[str]:
        used = {*self._vectors, *(IMAGE_PREFIX + camera for camera in self.cameras), SUCCESS}
        known = {"timestamp", "frame_index", "episode_index", "index", "task_index"}
        return sorted(theirs for ours, theirs in self._theirs.items() if ours not in used and theirs not in known)

    def _layout(self, key: str) -> list[dict[str, Any]]:
        feature = self._source.features[self._theirs[key]]
        size = int(np.prod(feature["shape"]))
        names = _flat_names(feature.get("names"))
        if len(names) != size:
            return [{"name": key, "size": size, "unit": UNKNOWN, "frame": UNKNOWN}]
        return [{"name": name, "size": 1, "unit": UNKNOWN, "frame": UNKNOWN} for name in names]

    def _check_vector(self, key: str) -> None:
        if key not in self._theirs:
            raise DatasetError(
                f"{self._source.folder} has no {key!r}; there are {', '.join(sorted(self._source.features))}; "
                f"say which one it is with --rename THEIRS={key}"
            )
        feature = self._source.features[self._theirs[key]]
        if not feature["dtype"].startswith(("float", "int", "uint")):
            raise DatasetError(f"{self._theirs[key]!r} holds {feature['dtype']}, {key!r} needs numbers")

    def _choose_cameras(self) -> tuple[str, ...]:
        there = tuple(
            key.removeprefix(IMAGE_PREFIX)
            for key, theirs in self._theirs.items()
            if key.startswith(IMAGE_PREFIX) and self._source.features[theirs]["dtype"] in ("image", "video")
        )
        chosen = there if self._options.cameras is None else self._options.cameras
        missing = [camera for camera in chosen if camera not in there]
        if missing:
            raise DatasetError(
                f"{self._source.folder} has no camera {missing[0]!r}; there are {', '.join(there) or 'none'}"
            )
        return chosen

    def _common_size(self) -> tuple[int, int] | None:
        if not self.cameras or self._options.image_size is not None:
            return self._options.image_size if self.cameras else None
        sizes = {camera: self._height_and_width(camera) for camera in self.cameras}
        if len(set(sizes.values())) > 1:
            listing = ", ".join(f"{camera} {height}×{width}" for camera, (height, width) in sizes.items())
            raise DatasetError(f"cameras differ in size ({listing}); choose some with --cameras or give --image-size")
        return next(iter(sizes.values()))

    def _height_and_width(self, camera: str) -> tuple[int, int]:
        feature = self._source.features[self._theirs[IMAGE_PREFIX + camera]]
        by_name = dict(zip(feature.get("names") or ("height", "width", "channels"), feature["shape"], strict=False))
        try:
            return int(by_name["height"]), int(by_name["width"])
        except KeyError:
            raise DatasetError(f"{camera} does not say its height and width; give --image-size") from None


def _our_names(features: Mapping[str, LeRobotFeature], rename: Mapping[str, str]) -> dict[str, str]:
    """Return our name of each feature to theirs."""
    wrong = [name for name in rename if name not in features]
    if wrong:
        raise DatasetError(f"--rename: there is no {wrong[0]!r}; there are {', '.join(sorted(features))}")
    names: dict[str, str] = {}
    for theirs in features:
        ours = rename.get(theirs, f"{IMAGE_PREFIX}image" if theirs == "observation.image" else theirs)
        if ours in names:
            raise DatasetError(f"{names[ours]!r} and {theirs!r} would both be {ours!r}; rename one of them")
        names[ours] = theirs
    return names


def _flat_names(names: object) -> list[str]:
    """Return the entries' names; some datasets keep them in a list, some in a dictionary of lists."""
    if isinstance(names, Mapping):
        return [text for part in names.values() for text in _flat_names(part)]
    if isinstance(names, Iterable) and not isinstance(names, str):
        return [str(name) for name in names]
    return []
