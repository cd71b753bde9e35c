"""The two text files of a dataset: what it is (`dataset.json`) and which episodes are finished (`episodes.jsonl`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simscaleai.data.episode_file import DatasetError
from simscaleai.files import replace_file

FORMAT = "simscaleai-dataset"
FORMAT_VERSION = 1
CONTRACT_FIELDS = ("environments", "state", "action", "control_hz")
"""What a contract cannot do without."""
REQUIRED_METADATA = ("seed", "environment", "instruction", "success")
"""What every episode says about itself, beside `OWN_FIELDS`."""
OWN_FIELDS = ("episode_index", "file", "length", "sha256")
"""What the writer says about every episode."""
_DAMAGE = (KeyError, TypeError, AttributeError, ValueError, RecursionError)
"""What reading JSON raises that is none, or not ours."""
INDEX_FILE, DISCARDED_FILE = "episodes.jsonl", "discarded.jsonl"


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One array of every episode, whose first dimension is time."""

    dtype: str
    """NumPy's name of the type."""
    shape: tuple[int, ...]
    """Shape of one step."""
    layout: list[dict[str, Any]] | None = None
    """Names, sizes, units and frames of a vector's entries, where the contract gives them."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """The content of `dataset.json`."""

    contract: dict[str, Any]
    """The environment's contract: what the observations and actions mean."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """How the demonstrations were made, the same for all episodes."""
    features: dict[str, Feature] = field(default_factory=dict)
    """Dataset key to what it holds; empty before the first episode."""
    statistics: dict[str, Any] = field(default_factory=dict)
    """Dataset key of each float vector to its statistics; empty until the writer is closed."""

    @property
    def fps(self) -> int:
        """Steps per second."""
        return int(self.contract["control_hz"])

    def with_features_of(self, arrays: Mapping[str, NDArray[Any]]) -> Description:
        """Return the description with the features of a first episode.

        Raises:
            DatasetError: If the episode lacks what the contract says or contradicts it.
        """
        layouts = {"observation.state": self.contract["state"]}
        if self.contract.get("environment_state"):
            layouts["observation.environment_state"] = self.contract["environment_state"]
        shapes = {key: (sum(entry["size"] for entry in layout),) for key, layout in layouts.items()}
        for camera in self.contract.get("cameras") or ():
            shapes[f"observation.images.{camera}"] = (*self.contract["image_size"], 3)
        for key in (*shapes, "action"):
            if key not in arrays:
                raise DatasetError(f"the contract promises {key!r}; the episode has {sorted(arrays)}")
            if arrays[key].shape[1:] != shapes.get(key, arrays[key].shape[1:]):
                raise DatasetError(f"{key!r} has shape {arrays[key].shape}, the contract says (T, *{shapes[key]})")
        if arrays["action"].ndim != 2:
            raise DatasetError(f"'action' must have shape (T, A), got {arrays['action'].shape}")
        features = {
            key: Feature(dtype=values.dtype.name, shape=values.shape[1:], layout=layouts.get(key))
            for key, values in sorted(arrays.items())
        }
        return replace(self, features=features)

    def check(self, arrays: Mapping[str, NDArray[Any]]) -> int:
        """Return the number of steps of an episode that has exactly the described features.

        Raises:
            DatasetError: If it has others, no steps, arrays of different lengths, or values that are not finite.
        """
        if arrays.keys() != self.features.keys():
            raise DatasetError(f"the episode has {sorted(arrays)}, the dataset {sorted(self.features)}")
        for key, feature in self.features.items():
            values = arrays[key]
            if values.dtype != feature.dtype or values.shape[1:] != feature.shape:
                raise DatasetError(
                    f"{key!r} is {values.dtype} {values.shape}, the dataset holds {feature.dtype} (T, *{feature.shape})"
                )
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise DatasetError(f"{key!r} holds a value that is not finite")
        lengths = {len(values) for values in arrays.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise DatasetError(f"all arrays of an episode need one length of at least 1, got {sorted(lengths)}")
        return lengths.pop()


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """One line of `episodes.jsonl`."""

    episode_index: int
    file: str
    """Path below the dataset folder."""
    length: int
    """Steps."""
    sha256: str
    """Digest of the file."""
    metadata: dict[str, Any]
    """Seed, environment, instruction, success and whatever else the writer was given."""

    def to_line(self) -> str:
        """Return the record as one line of JSON."""
        fields = {"episode_index": self.episode_index, "file": self.file, "length": self.length}
        return json.dumps(fields | self.metadata | {"sha256": self.sha256}) + "\n"

    @classmethod
    def from_line(cls, line: str) -> EpisodeRecord:
        """Rebuild a record from `to_line`."""
        values = json.loads(line)
        own = {name: values.pop(name) for name in OWN_FIELDS}
        if not (isinstance(own["episode_index"], int) and isinstance(own["length"], int) and own["length"] > 0):
            raise ValueError("episode_index and length must be whole numbers")
        if Path(own["file"]).is_absolute() or ".." in Path(own["file"]).parts:
            raise ValueError(f"file {own['file']!r} lies outside the dataset")
        missing = [name for name in REQUIRED_METADATA if name not in values]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
        return cls(**own, metadata=values)


def write_description(folder: Path, description: Description) -> None:
    """Write `dataset.json` atomically."""
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "fps": description.fps}
    replace_file(folder / "dataset.json", (json.dumps(head | asdict(description), indent=1) + "\n").encode())


def read_description(folder: Path) -> Description:
    """Read `dataset.json`.

    Raises:
        DatasetError: If the folder holds no dataset, a newer one, or a damaged one.
    """
    path = folder / "dataset.json"
    if not path.is_file():
        raise DatasetError(f"{folder} is no dataset: it has no dataset.json (python -m eval.collect makes one)")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT or data["format_version"] != FORMAT_VERSION:
            found = f"{data['format']} version {data['format_version']}"
            raise DatasetError(f"{path} is {found}; this version reads {FORMAT} version {FORMAT_VERSION}")
        features = {
            key: Feature(dtype=entry["dtype"], shape=tuple(entry["shape"]), layout=entry["layout"])
            for key, entry in data["features"].items()
        }
        rest = {name: data[name] for name in ("contract", "provenance", "statistics")}
        _check_types(**rest)
        return Description(features=features, **rest)
    except DatasetError:
        raise
    except _DAMAGE as error:
        raise DatasetError(f"{path} is damaged: {type(error).__name__} {error}; collect the dataset anew") from None


def _check_types(contract: Mapping[str, Any], provenance: Mapping[str, Any], statistics: Mapping[str, Any]) -> None:
    """Raise what using them would raise later, if they are not what a writer writes."""
    for name in CONTRACT_FIELDS:
        contract[name]
    for layout in (contract["state"], contract.get("environment_state") or ()):
        sum(entry["size"] for entry in layout)
    dict(provenance)
    for entry in statistics.values():
        sum((*entry["mean"], *entry["std"], *entry["min"], *entry["max"], entry["count"]))


def read_index(folder: Path) -> list[EpisodeRecord]:
    """Return the finished episodes in the order of their index, ignoring a last line that was cut.

    Raises:
        DatasetError: If another line is damaged or an episode is listed twice.
    """
    path = folder / INDEX_FILE
    records: dict[int, EpisodeRecord] = {}
    for number, line in enumerate(_lines(path), start=1):
        try:
            record = EpisodeRecord.from_line(line)
        except _DAMAGE as error:
            raise DatasetError(f"{path} line {number} is damaged: {error}") from None
        if record.episode_index in records:
            raise DatasetError(f"{path} line {number} lists episode {record.episode_index} again")
        records[record.episode_index] = record
    return [records[index] for index in sorted(records)]


def read_discarded(folder: Path) -> list[dict[str, Any]]:
    """Return what is known of the episodes that were run and not kept, in the order of their `episode_index`.

    Raises:
        DatasetError: If a line is damaged, other than a last one that was cut.
    """
    path = folder / DISCARDED_FILE
    try:
        return sorted(map(json.loads, _lines(path)), key=lambda entry: int(entry["episode_index"]))
    except _DAMAGE as error:
        raise DatasetError(f"{path} is damaged: {error}") from None


def episode_file_name(episode_index: int) -> str:
    """Return the path of an episode's file below the dataset folder."""
    return f"episodes/episode_{episode_index:06d}.safetensors"


def drop_cut_line(path: Path) -> None:
    """Remove a last line of a list that has no end, left by a process that died while writing it."""
    if path.exists():
        data = path.read_bytes()
        if not data.endswith(b"\n") and data:
            replace_file(path, data[: data.rfind(b"\n") + 1])


def _lines(path: Path) -> list[str]:
    """Return the finished lines of `path`; none if there is no such file."""
    try:
        return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    except UnicodeDecodeError:
        raise DatasetError(f"{path} is damaged: it is no text; restore it or collect the dataset anew") from None
