"""Imports a LeRobotDataset v3.0 or v2.1: an export of this package, or a dataset of another project."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from simscaleai.data.episode_file import Arrays
from simscaleai.data.exchange.damage import reading
from simscaleai.data.exchange.foreign import ForeignDataset, ImportOptions
from simscaleai.data.exchange.own_record import OwnRecord
from simscaleai.data.exchange.restoring import parse_record, restore
from simscaleai.data.keys import vector_key
from simscaleai.data.lerobot.layout import OWN_FORMAT, OWN_PATH, feature_name, is_image
from simscaleai.data.lerobot.source import Episode, LeRobotSource
from simscaleai.files import new_folder, read_file

__all__ = ["ImportOptions", "import_lerobot"]


def import_lerobot(source: Path, output: Path, options: ImportOptions | None = None) -> list[str]:
    """Convert the LeRobotDataset in `source` to a new dataset in `output`, which appears when it is complete.

    An export by `export_lerobot` becomes the dataset again that it describes, to the last byte. For any other source,
    the needs contain what LeRobot's files say, and an episode in which the task changes becomes several.

    Args:
        source: Folder with `meta/info.json`.
        output: Folder to write, new or empty.
        options: How to read data of other projects. With options, an export is read in this way, too.

    Returns:
        Notes about missing facts and their consequences for training and evaluation, one line each.

    Raises:
        DatasetError: If the source is damaged, of another version, or lacks what training needs.
        SimScaleError: If `output` exists and is not an empty folder, or another process writes to it.
    """
    opened = LeRobotSource(source)
    with new_folder(output) as folder:
        if (source / OWN_PATH).exists() and options in (None, ImportOptions()):
            _import_own(opened, folder)
            return []
        return ForeignDataset(opened, options or ImportOptions()).write(folder)


def _import_own(source: LeRobotSource, folder: Path) -> None:
    """Restore a dataset that this package exported, and check that every episode file is the same."""
    path = source.folder / OWN_PATH
    with reading(path):
        own = parse_record(read_file(path), OWN_FORMAT, len(source.episodes), str(path))
    restore(source.folder, own, folder, lambda number: _arrays(source, source.episodes[number], own), OWN_PATH)


def _arrays(source: LeRobotSource, episode: Episode, own: OwnRecord) -> Arrays:
    """Return the arrays of one episode with the types and shapes that they had before the export."""
    layouts = {vector_key(name): layout for name, layout in own.needs.vectors.items()}
    arrays: Arrays = {}
    for key, array_type in own.array_types.items():
        name = feature_name(key, layouts.get(key))
        name = name if name in source.features else key  # older exports
        dtype = np.uint8 if is_image(key, array_type) else np.dtype(array_type.dtype)
        arrays[key] = source.read(episode, name).astype(dtype, copy=False).reshape(-1, *array_type.shape)
    return arrays
