"""Reads a LeRobotDataset v3.0 into a dataset of ours: one that we exported, or one that others made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from simscaleai.data.description import CONTRACT_FIELDS, REQUIRED_METADATA, Description, Feature
from simscaleai.data.episode_file import Arrays, DatasetError
from simscaleai.data.lerobot.exporter import OWN_FORMAT, OWN_FORMAT_VERSION
from simscaleai.data.lerobot.foreign import ForeignDataset, ImportOptions
from simscaleai.data.lerobot.layout import OWN_PATH, is_image
from simscaleai.data.lerobot.source import DAMAGED, LeRobotSource
from simscaleai.data.writer import DatasetWriter
from simscaleai.files import new_folder

__all__ = ["ImportOptions", "import_lerobot"]


def import_lerobot(source: Path, output: Path, options: ImportOptions | None = None) -> list[str]:
    """Make the new dataset `output`, which appears when it is complete, from the LeRobotDataset in `source`.

    What `export_lerobot` wrote becomes the dataset that it was made of, to the last byte. For any other, a contract is
    made of what LeRobot knows.

    Args:
        source: Folder with `meta/info.json`.
        output: Folder to write, new or empty.
        options: How to read data that others made.

    Returns:
        What the source does not say, one line each, and what was made of it.

    Raises:
        DatasetError: If the source is damaged, of another version, or lacks what training needs.
        SimScaleError: If `output` exists and is not an empty folder.
    """
    opened = LeRobotSource(source)
    with new_folder(output) as folder:
        if (source / OWN_PATH).exists() and options in (None, ImportOptions()):
            return _import_own(opened, folder)
        foreign = ForeignDataset(opened, options or ImportOptions())
        with DatasetWriter(folder, foreign.contract(), provenance=foreign.provenance()) as writer:
            for episode in tqdm(opened.episodes, unit="ep", disable=None):
                writer.write_episode(foreign.arrays(episode), foreign.metadata(episode), episode.index)
        return foreign.gaps()


def _import_own(source: LeRobotSource, folder: Path) -> list[str]:
    """Restore what we exported, and make sure that it is the same."""
    own = _read_own(source)
    features = {key: Feature(**entry | {"shape": tuple(entry["shape"])}) for key, entry in own["features"].items()}
    description = Description(contract=own["contract"], provenance=own["provenance"])
    with DatasetWriter(folder, description.contract, provenance=description.provenance) as writer:
        pairs = zip(source.episodes, own["episodes"], strict=True)
        for episode, entry in tqdm(pairs, total=len(source.episodes), unit="ep", disable=None):
            arrays: Arrays = {}
            for key, feature in features.items():
                dtype = np.uint8 if is_image(key, feature) else np.dtype(feature.dtype)
                arrays[key] = source.read(episode, key).astype(dtype, copy=False).reshape(-1, *feature.shape)
            record = writer.write_episode(arrays, entry["metadata"], entry["episode_index"])
            if record.sha256 != entry["sha256"]:
                raise DatasetError(
                    f"{source.folder} was changed after the export: episode {episode.index} is not what "
                    f"{OWN_PATH} describes; remove that file to import it as data of unknown origin"
                )
        for discarded in own["discarded"]:
            writer.discard_episode(
                {key: value for key, value in discarded.items() if key != "episode_index"}, discarded["episode_index"]
            )
    return []


def _read_own(source: LeRobotSource) -> dict[str, Any]:
    path = source.folder / OWN_PATH
    try:
        own: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if (own["format"], own["format_version"]) != (OWN_FORMAT, OWN_FORMAT_VERSION):
            raise ValueError(f"it is {own['format']} version {own['format_version']}")
        if len(own["episodes"]) != len(source.episodes):
            raise ValueError(f"it lists {len(own['episodes'])} episodes, there are {len(source.episodes)}")
        for name in CONTRACT_FIELDS:
            own["contract"][name]
        for entry in own["episodes"]:
            _ = entry["episode_index"], entry["sha256"], [entry["metadata"][name] for name in REQUIRED_METADATA]
        _ = own["provenance"], own["discarded"], own["features"].items()
        return own
    except DAMAGED as error:
        raise DatasetError(
            f"{path} does not fit the dataset: {type(error).__name__} {error}; remove it to import the dataset as "
            "data of unknown origin"
        ) from None
