"""Imports a Minari dataset: an export of this package, or a dataset of another project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from minari.dataset.minari_storage import MinariStorage
from numpy.typing import NDArray

from simscaleai.data.episode_file import Arrays
from simscaleai.data.exchange.damage import reading
from simscaleai.data.exchange.foreign import ForeignDataset, ImportOptions
from simscaleai.data.exchange.own_record import OwnRecord
from simscaleai.data.exchange.restoring import parse_record, restore
from simscaleai.data.keys import ACTION, image_key, vector_key
from simscaleai.data.minari.layout import RECORD_FORMAT, RECORD_PATH
from simscaleai.data.minari.source import MinariSource, open_storage
from simscaleai.files import new_folder, read_file


def import_minari(
    source: Path, output: Path, options: ImportOptions | None = None, control_hz: int | None = None
) -> list[str]:
    """Convert the Minari dataset in `source` to a new dataset in `output`, which appears when it is complete.

    An export by `export_minari` becomes the dataset again that it describes, to the last byte. For any other dataset,
    the needs contain what its files say.

    Args:
        source: Folder with `data/metadata.json`.
        output: Folder to write, new or empty.
        options: How to read data of other projects. With options, an export is read in this way, too.
        control_hz: Steps per second, which Minari does not store; not for an export of this package.

    Returns:
        Notes about missing facts and their consequences for training and evaluation, one line each.

    Raises:
        DatasetError: If the source is damaged, or lacks what training needs.
        SimScaleError: If `output` exists and is not an empty folder, or another process writes to it.
    """
    with new_folder(output) as folder:
        if (source / RECORD_PATH).exists() and options in (None, ImportOptions()) and control_hz is None:
            _import_own(source, folder)
            return []
        return ForeignDataset(MinariSource(source, control_hz), options or ImportOptions()).write(folder)


def _import_own(source: Path, folder: Path) -> None:
    """Restore a dataset that this package exported, and check that every episode file is the same."""
    storage, metadata = open_storage(source)
    path = source / RECORD_PATH
    with reading(path):
        own = parse_record(read_file(path), RECORD_FORMAT, metadata["total_episodes"], str(path))
    restore(source, own, folder, lambda number: _arrays(storage, number, own), RECORD_PATH)


def _arrays(storage: MinariStorage, number: int, own: OwnRecord) -> Arrays:
    """Return the arrays of one episode as they were before the export."""
    (episode,) = storage.get_episodes([number])
    observed = {vector_key(name): name for name in own.needs.vectors}
    observed |= {image_key(camera): camera for camera in own.needs.cameras}

    def array(key: str) -> NDArray[Any]:
        if key == ACTION:
            return np.asarray(episode["actions"])
        values = episode["observations"][observed[key]] if key in observed else episode["infos"][key]
        return np.ascontiguousarray(values[:-1])

    return {key: array(key) for key in own.array_types}
