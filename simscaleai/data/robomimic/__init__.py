"""HDF5 files of demonstrations as `robomimic` reads them, written and read with h5py.

The values keep their bytes. The scalar `/simscaleai` of the file, which robomimic does not read, holds the data that
the format cannot store, so an export that is imported again is the same to the last byte.
"""

from simscaleai.data.episode_file import DatasetError

try:
    import h5py  # noqa: F401
except ModuleNotFoundError:
    raise DatasetError("robomimic files need h5py: pip install 'simscaleai[robomimic]'") from None

from simscaleai.data.robomimic.exporter import export_robomimic
from simscaleai.data.robomimic.importer import import_robomimic

__all__ = ["export_robomimic", "import_robomimic"]
