"""Imports a robomimic file: an export of this package, or a file of another project."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from simscaleai.data.episode_file import Arrays, DatasetError
from simscaleai.data.exchange.damage import reading
from simscaleai.data.exchange.foreign import ForeignDataset, ImportOptions
from simscaleai.data.exchange.hdf5 import child, dataset, numbers
from simscaleai.data.exchange.own_record import OwnRecord
from simscaleai.data.exchange.restoring import parse_record, restore
from simscaleai.data.robomimic.layout import FILE_NAME, RECORD, RECORD_FORMAT, places
from simscaleai.data.robomimic.source import RobomimicSource
from simscaleai.files import file_size, new_folder

_MOST_RECORD_BYTES = 2**30


def import_robomimic(
    source: Path, output: Path, options: ImportOptions | None = None, control_hz: int | None = None
) -> list[str]:
    """Convert the robomimic file `source` to a new dataset in `output`, which appears when it is complete.

    An export by `export_robomimic` becomes the dataset again that it describes, to the last byte. For any other file,
    the needs contain what the file says.

    Args:
        source: The HDF5 file, or a folder with `demo.hdf5`.
        output: Folder to write, new or empty.
        options: How to read data of other projects. With options, an export is read in this way, too.
        control_hz: Steps per second, for files that do not say it.

    Returns:
        Notes about missing facts and their consequences for training and evaluation, one line each.

    Raises:
        DatasetError: If the source is damaged, or lacks what training needs.
        SimScaleError: If `output` exists and is not an empty folder, or another process writes to it.
    """
    path = source / FILE_NAME if source.is_dir() else source
    with _opened(path) as file, new_folder(output) as folder:
        if RECORD in list(file) and options in (None, ImportOptions()) and control_hz is None:
            _import_own(path, file, folder)
            return []
        return ForeignDataset(RobomimicSource(path, file, control_hz), options or ImportOptions()).write(folder)


def _opened(path: Path) -> h5py.File:
    if not path.exists():
        raise DatasetError(f"there is no robomimic file {path}")
    with reading(path):
        file_size(path)  # also refuses pipes and devices
        return h5py.File(path, "r")


def _import_own(path: Path, file: h5py.File, folder: Path) -> None:
    """Restore a dataset that this package exported, and check that every episode file is the same."""
    place = f"/{RECORD} in {path}"
    with reading(path):
        text = dataset(file, RECORD)
        if text.shape != () or text.id.get_storage_size() > _MOST_RECORD_BYTES:
            raise ValueError(f"/{RECORD} is no text")
        data = child(file, "data")
        own = parse_record(text[()], RECORD_FORMAT, len(data), place)
        place_of = places(own.array_types)
    restore(path, own, folder, lambda number: _arrays(child(data, f"demo_{number}"), own, place_of), place)


def _arrays(group: h5py.Group, own: OwnRecord, place_of: dict[str, str]) -> Arrays:
    length = len(dataset(group, "actions"))
    return {key: np.ascontiguousarray(numbers(group, place, length)) for key, place in place_of.items()}
