"""Reads a dataset of another project as demonstrations, with its own files as the only source of information."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from simscaleai.contract import Feature, ImageSize, Layout, Needs
from simscaleai.data.episode_file import Arrays, DatasetError
from simscaleai.data.exchange.pixels import DeepImagesError
from simscaleai.data.exchange.source import E, Source, SourceFeature
from simscaleai.data.keys import ACTION, IMAGE_PREFIX, PRIVILEGED_PREFIX, image_key, vector_key
from simscaleai.data.writer import DatasetWriter

STATE, ENVIRONMENT_STATE = "state", "environment_state"
SUCCESS = "next.success"
_JOINED = (vector_key(STATE), vector_key(ENVIRONMENT_STATE), ACTION)  # vectors that may come in parts
UNKNOWN = "unknown"
EXACT_INTEGERS = 2**24
"""Largest whole number up to which float32 holds every whole number."""


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How to read data of other projects."""

    rename: Mapping[str, str] = field(default_factory=dict)
    """Name of a feature in the source to its name in the new dataset. Several vectors with one new name are joined."""
    cameras: tuple[str, ...] | None = None
    """Cameras to take, X for `observation.images.X`; None takes all."""
    image_size: ImageSize | None = None
    """Height and width that images are scaled to; None keeps their size."""


class ForeignDataset(Generic[E]):
    """A dataset of another project as demonstrations: vectors, cameras, instruction and action."""

    def __init__(self, source: Source[E], options: ImportOptions) -> None:
        """Choose the vectors and cameras of `source` from which a policy can learn.

        Raises:
            DatasetError: If there is no state or no action, a name is wrong, or the cameras differ in size.
        """
        self._source, self._options = source, options
        self._names_in_source = _names_in_source(source.features, options.rename)
        self._has_parts = any(episode.first_frame for episode in source.episodes)
        for key in (vector_key(STATE), ACTION):
            self._check_vector(key)
        observed = [name for name in (STATE, ENVIRONMENT_STATE) if vector_key(name) in self._names_in_source]
        self._layouts = {name: self._layout(vector_key(name), name == ENVIRONMENT_STATE) for name in observed}
        self._deep: dict[str, str] = {}
        """Camera that is left out because it sees no colours of 8 bits, to what it sees."""
        self._sizes = self._sizes_of_cameras()
        """Camera that is taken, to the height and width of its images in the source."""
        self.image_size = self._common_size()
        """Height and width of the images of all chosen cameras; None without cameras."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the chosen cameras."""
        return tuple(self._sizes)

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

    def write(self, folder: Path) -> list[str]:
        """Write all episodes as a dataset into `folder`, and return `notes`.

        Raises:
            DatasetError: If an episode is damaged or cannot be converted.
        """
        with DatasetWriter(folder, self.needs(), provenance=self.provenance()) as writer:
            for episode in tqdm(self._source.episodes, unit="ep", disable=None):
                writer.write_episode(self.arrays(episode), self.metadata(episode), episode.index)
        return self.notes()

    def provenance(self) -> dict[str, Any]:
        """Return where the data comes from."""
        return {
            "imported": self._source.format,
            "robot_type": self._source.robot_type,
            "renamed": dict(self._options.rename),
            "image_size": None if self._options.image_size is None else list(self._options.image_size),
            "left_out": self._left_out(),
        }

    def arrays(self, episode: E) -> Arrays:
        """Return the arrays of one episode under their new names, vectors as float32 (T, n)."""
        arrays: Arrays = {}
        for key in (*map(vector_key, self._layouts), ACTION):
            parts = [self._vector(episode, name) for name in self._names_in_source[key]]
            arrays[key] = np.concatenate(parts, axis=1)
        for key in map(image_key, self.cameras):
            (name,) = self._names_in_source[key]
            arrays[key] = self._source.read(episode, name, image_size=self._options.image_size)
        return arrays

    def metadata(self, episode: E) -> dict[str, Any]:
        """Return the metadata of one episode. None means unknown."""
        success = None
        if SUCCESS in self._names_in_source:
            (name,) = self._names_in_source[SUCCESS]
            success = bool(self._source.read(episode, name).any())
        facts = {"seed": None, "environment": None, "instruction": episode.task, "success": success}
        if not self._has_parts:
            return facts
        return facts | {"source_episode": episode.source_index, "source_first_frame": episode.first_frame}

    def notes(self) -> list[str]:
        """Return notes about missing facts and their consequences for training and evaluation, one line each."""
        lines = [
            "the environment is unknown: policies can be trained on this data, but not evaluated here",
            "units and frames of state and action are unknown; actions beyond [-1, 1] are scaled by their range",
        ]
        if SUCCESS not in self._names_in_source:
            lines.append(f"there is no {SUCCESS}: whether an episode succeeded is unknown, training uses all episodes")
        if not any(episode.task for episode in self._source.episodes):
            lines.append("no episode has a task: policies trained on this data read no instruction")
        if self._has_parts:
            lines.append("the task changes within episodes: the frames of each task became an episode of their own")
        if irregular := self._source.irregular_steps():
            lines.append(f"{irregular} steps are longer or shorter than 1/{self._source.fps} s by more than half")
        for camera, pixels in self._deep.items():
            lines.append(f"camera {camera} is left out: {pixels}")
        if self._left_out():
            lines.append(f"left out: {', '.join(self._left_out())}")
        if self.image_size is not None and self.image_size[0] != self.image_size[1]:
            lines.append(f"images are {'×'.join(map(str, self.image_size))}, models take squares: see --image-size")
        return lines

    def _left_out(self) -> list[str]:
        used = {*map(vector_key, self._layouts), *map(image_key, self.cameras), ACTION, SUCCESS}
        return sorted(
            name
            for ours, names in self._names_in_source.items()
            for name in names
            if ours not in used and name not in self._source.counters
        )

    def _vector(self, episode: E, name: str) -> NDArray[np.float32]:
        values = self._source.read(episode, name).reshape(episode.length, -1)
        if values.dtype.kind in "iu" and max(int(values.max()), -int(values.min())) > EXACT_INTEGERS:
            raise DatasetError(
                f"{self._source.folder}: {name} of episode {episode.source_index} holds whole numbers beyond "
                f"{EXACT_INTEGERS}, which float32 would round; convert them to other units first"
            )
        return values.astype(np.float32)

    def _layout(self, key: str, privileged: bool = False) -> Layout:
        names = self._names_in_source[key]
        parts = [name.removeprefix(f"{key}.") if len(names) > 1 else "" for name in names]
        features = [self._features(key, name, part) for name, part in zip(names, parts, strict=True)]
        return Layout(tuple(feature for inner in features for feature in inner), privileged)

    def _features(self, key: str, name: str, part: str) -> list[Feature]:
        """Return the features of the source's feature `name`, the `part` of the vector `key` ("" if it is all of it).

        The first episode shows how many entries there are.
        """
        size = self._vector(self._source.episodes[0], name).shape[1]
        entries = _entry_names(self._source.features[name].names)
        if len(entries) != size:
            return [Feature(part or key, size, UNKNOWN, UNKNOWN)]
        return [Feature(f"{part}.{entry}" if part else entry, 1, UNKNOWN, UNKNOWN) for entry in entries]

    def _check_vector(self, key: str) -> None:
        if key not in self._names_in_source:
            raise DatasetError(
                f"{self._source.folder} has no {key!r}; there are {', '.join(sorted(self._source.features))}; "
                f"say which one it is with --rename SOURCE={key}"
            )
        for name in self._names_in_source[key]:
            dtype = self._source.features[name].dtype
            if not dtype.startswith(("float", "int", "uint")):
                raise DatasetError(f"expected numbers in {name!r}, got {dtype}; choose another feature with --rename")

    def _sizes_of_cameras(self) -> dict[str, ImageSize]:
        """Return the size of the first image of each camera. Cameras that see no colours go to `_deep` instead."""
        sizes = {}
        for camera in self._chosen_cameras():
            (name,) = self._names_in_source[image_key(camera)]
            if self._source.features[name].is_depth_map and self._options.cameras is None:
                self._deep[camera] = "its pixels are distances, according to the dataset"
                continue
            try:
                sizes[camera] = self._source.image_size(name)
            except DatasetError as error:
                if self._options.cameras is not None or not isinstance(error.__cause__, DeepImagesError):
                    raise
                self._deep[camera] = str(error.__cause__)
        return sizes

    def _chosen_cameras(self) -> Sequence[str]:
        available = [
            key.removeprefix(IMAGE_PREFIX)
            for key, names in self._names_in_source.items()
            if key.startswith(IMAGE_PREFIX) and self._source.features[names[0]].dtype in ("image", "video")
        ]
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
        if len(set(self._sizes.values())) > 1:
            listing = ", ".join(f"{camera} {height}×{width}" for camera, (height, width) in self._sizes.items())
            raise DatasetError(f"cameras differ in size ({listing}); choose some with --cameras or give --image-size")
        return next(iter(self._sizes.values()))


def _names_in_source(features: Mapping[str, SourceFeature], rename: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Map each new name to the features of the source that it stands for: one, or the parts of a vector in order."""
    wrong = [name for name in rename if name not in features]
    if wrong:
        raise DatasetError(f"--rename: there is no {wrong[0]!r}; there are {', '.join(sorted(features))}")
    names: dict[str, tuple[str, ...]] = {}
    for theirs in features:
        ours = rename.get(theirs, _usual_name(theirs))
        others = names.get(ours, ())
        is_part = ours in _JOINED and theirs in rename and all(other in rename for other in others)
        if others and not is_part:
            raise DatasetError(f"{others[0]!r} and {theirs!r} would both be {ours!r}; rename one of them")
        names[ours] = (*others, theirs)
    order = list(rename)
    names = {ours: parts if len(parts) == 1 else tuple(sorted(parts, key=order.index)) for ours, parts in names.items()}
    for key in _JOINED:
        parts = [ours for ours in names if ours.startswith(f"{key}.")]
        if key not in names and parts:
            names[key] = tuple(name for part in parts for name in names.pop(part))
    return names


def _usual_name(theirs: str) -> str:
    """Return the new name of a feature that the user does not rename."""
    if theirs == f"{PRIVILEGED_PREFIX}{ENVIRONMENT_STATE}":
        return vector_key(ENVIRONMENT_STATE)
    return image_key("image") if theirs == "observation.image" else theirs


def _entry_names(names: object) -> list[str]:
    """Return the names of the entries; some datasets store them in a list, some in a dictionary of lists."""
    groups = names.values() if isinstance(names, Mapping) else [names]
    return [name for group in groups if isinstance(group, list) for name in group if isinstance(name, str)]
