"""Datasets of Minari, written and read with the package `minari` itself, in its HDF5 format.

Images are stored without loss. `data/simscaleai.json`, which Minari does not read, holds the data that the format
cannot store, so an export that is imported again is the same to the last byte.
"""

from simscaleai.data.episode_file import DatasetError

try:
    import h5py  # noqa: F401
    import minari  # noqa: F401
except ModuleNotFoundError:
    raise DatasetError("Minari datasets need minari and h5py: pip install 'simscaleai[minari]'") from None

from simscaleai.data.minari.exporter import export_minari
from simscaleai.data.minari.importer import import_minari

__all__ = ["export_minari", "import_minari"]
