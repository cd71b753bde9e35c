"""Demonstration datasets: one immutable file per episode, a list of episodes, and one description.

::

    data/pick_place/
    ├── dataset.json        format version, needs, provenance, types of the arrays, statistics
    ├── episodes.jsonl      one line per finished episode, appended after its file was written
    ├── discarded.jsonl     one line per episode that was run but not kept
    └── episodes/
        └── episode_000000.safetensors

A crash loses at most the episode that was being written, because a file without a line in `episodes.jsonl` counts as
not written. Files are mapped into memory and need no decoding. `python -m simscaleai.data` shows what a dataset holds,
and converts datasets to and from LeRobot's format.
"""

from simscaleai.data.episode_file import DatasetError
from simscaleai.data.reader import Dataset
from simscaleai.data.writer import DatasetWriter

__all__ = ["Dataset", "DatasetError", "DatasetWriter"]
