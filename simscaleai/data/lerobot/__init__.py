"""LeRobotDataset v3.0, written and read with pyarrow and Pillow: neither the `lerobot` package nor pandas is needed.

Images are stored as PNG inside the Parquet files (`dtype: image`), which is lossless. A dataset that is exported and
imported again is therefore the same to the last byte. `meta/simscaleai.json` holds the data that LeRobot's format
cannot store.
"""

from simscaleai.data.episode_file import DatasetError

try:
    import PIL  # noqa: F401
    import pyarrow  # noqa: F401
except ModuleNotFoundError as error:
    raise DatasetError(f"LeRobot datasets need {error.name}: pip install 'simscaleai[lerobot]'") from None

from simscaleai.data.lerobot.exporter import export_lerobot
from simscaleai.data.lerobot.importer import ImportOptions, import_lerobot

__all__ = ["ImportOptions", "export_lerobot", "import_lerobot"]
