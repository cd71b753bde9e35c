"""The record that this package adds to an export, so that an import can restore the same dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from simscaleai.contract import Needs
from simscaleai.data.description import ArrayType, Description, from_version_1
from simscaleai.data.episode_list import StoredEpisode, check_discarded, check_metadata
from simscaleai.errors import SimScaleError
from simscaleai.json_data import plain, read_checked

OWN_FORMAT_VERSION = 2
"""Version of the format. Version 1 has a contract instead of needs, and stores the layout of each vector twice."""


@dataclass(frozen=True, kw_only=True)
class OwnEpisode:
    """What another format does not say about one episode."""

    episode_index: int
    sha256: str
    metadata: dict[str, Any]

    def __post_init__(self) -> None:
        """Check that the metadata is complete."""
        check_metadata(self.metadata, self.episode_index)


@dataclass(frozen=True, kw_only=True)
class OwnRecord:
    """What another format does not say about a dataset."""

    needs: Needs
    provenance: dict[str, Any]
    array_types: dict[str, ArrayType]
    episodes: tuple[OwnEpisode, ...]
    discarded: tuple[dict[str, Any], ...]
    """Metadata of the episodes that were run but not kept, with their `episode_index`."""

    def __post_init__(self) -> None:
        """Check the discarded episodes."""
        for entry in self.discarded:
            check_discarded(entry)

    @classmethod
    def of(
        cls, description: Description, episodes: Sequence[StoredEpisode], discarded: Sequence[dict[str, Any]]
    ) -> OwnRecord:
        """Return the record of a dataset with this description and these episodes."""
        return cls(
            needs=description.needs,
            provenance=description.provenance,
            array_types=description.array_types,
            episodes=tuple(
                OwnEpisode(episode_index=episode.episode_index, sha256=episode.sha256, metadata=episode.metadata)
                for episode in episodes
            ),
            discarded=tuple(discarded),
        )

    def to_json(self, name: str) -> dict[str, Any]:
        """Return the record as plain JSON data; `name` is the format of the record, such as simscaleai-lerobot."""
        return {"format": name, "format_version": OWN_FORMAT_VERSION, **plain(asdict(self))}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], name: str) -> OwnRecord:
        """Rebuild a record from `to_json(name)`, or from data of version 1.

        Raises:
            SimScaleError: If the data is damaged. The exceptions in `json_data.DAMAGE` are possible, too.
        """
        version = data["format_version"]
        if data["format"] != name or version not in range(1, OWN_FORMAT_VERSION + 1):
            raise SimScaleError(f"it is {data['format']} version {version}")
        values = {key: value for key, value in data.items() if key not in ("format", "format_version")}
        return read_checked(cls, from_version_1(values) if "contract" in values else values)
