"""Layout of a Minari dataset: what stands where below the folder `data`."""

from __future__ import annotations

import re

DATA = "data"
METADATA_PATH = "data/metadata.json"
HDF5_PATH = "data/main_data.hdf5"
RECORD_PATH = "data/simscaleai.json"
"""File that this package adds: needs, provenance, and the metadata of each episode."""
RECORD_FORMAT = "simscaleai-minari"

_VERSION = re.compile(r"-v\d{1,9}$")


def dataset_id(folder: str) -> str:
    """Return an id that Minari accepts for a dataset in a folder of this name, such as `simscale/expert-v0`."""
    name = re.sub(r"[^-\w]", "-", folder, flags=re.ASCII) or "dataset"
    return f"simscale/{name}" if _VERSION.search(name) else f"simscale/{name}-v0"
