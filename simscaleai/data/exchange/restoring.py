"""Restores a dataset that this package exported, to the last byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from simscaleai.data.episode_file import Arrays, DatasetError
from simscaleai.data.exchange.damage import reading
from simscaleai.data.exchange.own_record import OwnRecord
from simscaleai.data.writer import DatasetWriter
from simscaleai.json_data import DAMAGE, damage_text, parse_json


def restore(source: Path, own: OwnRecord, folder: Path, arrays_of: Callable[[int], Arrays], place: str) -> None:
    """Write the dataset that `own` describes to `folder`, and check that every episode file is the same.

    Args:
        source: The export, for messages.
        own: Our record in the export.
        folder: Folder to write.
        arrays_of: Returns the arrays of the episode at a position, with the types and shapes before the export.
        place: Where our record is, for messages.

    Raises:
        DatasetError: If the export was changed.
    """
    with DatasetWriter(folder, own.needs, provenance=own.provenance) as writer:
        for number, entry in enumerate(tqdm(own.episodes, unit="ep", disable=None)):
            with reading(source, f"episode {number}"):
                arrays = arrays_of(number)
            stored = writer.write_episode(arrays, entry.metadata, entry.episode_index)
            if stored.sha256 != entry.sha256:
                raise DatasetError(
                    f"{source} was changed after the export: episode {number} is not what {place} describes; "
                    "remove that record to import it as data of unknown origin"
                )
        for discarded in own.discarded:
            metadata = {key: value for key, value in discarded.items() if key != "episode_index"}
            writer.discard_episode(metadata, discarded["episode_index"])


def parse_record(text: str | bytes, name: str, episodes: int, place: str) -> OwnRecord:
    """Return the record in `text`.

    Args:
        text: JSON data.
        name: Name of the format of the record.
        episodes: Number of the episodes that the export holds.
        place: Where the record is, for messages.

    Raises:
        DatasetError: If the record is damaged, or lists another number of episodes.
    """
    try:
        own = OwnRecord.from_json(parse_json(text), name)
        if len(own.episodes) != episodes:
            raise DatasetError(f"it lists {len(own.episodes)} episodes, there are {episodes}")
        return own
    except DAMAGE as error:
        raise DatasetError(
            f"{place} does not fit the dataset: {damage_text(error)}; remove it to import the dataset as "
            "data of unknown origin"
        ) from None
