"""What an export of one dataset writes, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simscaleai.data.description import Description, read_description
from simscaleai.data.episode_file import Arrays, DatasetError, episode_sha256
from simscaleai.data.episode_list import StoredEpisode, read_discarded
from simscaleai.data.exchange.own_record import OwnRecord
from simscaleai.data.reader import Dataset

_MOST_BYTES_OF_TEXT = 60_000  # an attribute of HDF5 has at most 64 KiB


@dataclass
class Contents:
    """The dataset that is exported, and the episodes that were written so far."""

    dataset: Dataset
    description: Description
    """The description of what is exported: perhaps without the privileged vectors."""
    folder: Path
    written: list[StoredEpisode] = field(default_factory=list)
    """The episodes so far, each with the SHA-256 of a file that holds the exported arrays alone."""

    @classmethod
    def open(cls, folder: Path, *, privileged: bool) -> Contents:
        """Open and check the dataset in `folder`; `privileged` says whether simulator truth is exported, too.

        Raises:
            DatasetError: If `folder` is no SimScaleAI dataset or has changed since it was written.
        """
        dataset, description = Dataset(folder), read_description(folder)
        dataset.check_files()
        return cls(dataset, description if privileged else description.without_privileged(), folder)

    def arrays(self, number: int) -> Arrays:
        """Return the arrays to export of the episode `number`, and add the episode to `written`."""
        stored, arrays = self.dataset.episodes[number], self.dataset.episode(number)
        exported = {key: arrays[key] for key in self.description.array_types}
        is_whole = exported.keys() == arrays.keys()
        self.written.append(stored if is_whole else replace(stored, sha256=episode_sha256(exported)))
        return exported

    def instruction(self, number: int) -> str:
        """Return the instruction of the episode `number`, for an attribute of an HDF5 group.

        Raises:
            DatasetError: If HDF5 cannot hold it there.
        """
        text = str(self.dataset.episodes[number].metadata["instruction"])
        if "\0" in text or len(text.encode()) > _MOST_BYTES_OF_TEXT:
            raise DatasetError(f"HDF5 cannot hold the instruction of episode {number}: it is too long or has a NUL")
        return text

    def rewards(self, number: int) -> NDArray[np.float64]:
        """Return 1 for the last step of a successful episode and otherwise 0, shape (T,)."""
        episode = self.dataset.episodes[number]
        rewards = np.zeros(episode.length)
        rewards[-1] = bool(episode.metadata["success"])
        return rewards

    def record(self) -> OwnRecord:
        """Return our record of the written episodes."""
        return OwnRecord.of(self.description, self.written, read_discarded(self.folder))
