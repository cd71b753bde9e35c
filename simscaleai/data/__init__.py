"""Demonstration datasets: one immutable file per episode, an append-only index, one description.

::

    data/pick_place/
    ├── dataset.json        format version, contract, features, provenance, statistics
    ├── episodes.jsonl      one line per finished episode, appended when its file is in place
    ├── discarded.jsonl     one line per episode that was run and is not kept
    └── episodes/
        └── episode_000000.safetensors

The order of writing makes it safe against a crash at any moment: an episode exists once its line does, and its line
is written after its file. Reading needs no decoding: files are mapped into memory. `python -m simscaleai.data` looks
into datasets and exchanges them with LeRobot.
"""

from simscaleai.data.episode_file import DatasetError
from simscaleai.data.reader import Dataset
from simscaleai.data.windows import WindowSampler
from simscaleai.data.writer import DatasetWriter

__all__ = ["Dataset", "DatasetError", "DatasetWriter", "WindowSampler"]
