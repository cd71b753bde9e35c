"""Seeded serving, an extension of the openpi protocol: what a server of this project announces, and what clients add.

A server announces the extension in its metadata, under the key `EXTENSION`. A client that knows the extension adds to
each request, under the same key, which prediction of which episode it asks for (`episode_part`). Its observations have
the keys of `Announcement.needs`, its instruction the key `PROMPT`. Call 0 begins an episode. A call that is repeated
gets the same reply. A server that does not know the episode, for example because it was started again, replies
`UNKNOWN_EPISODE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from simscaleai.contract import ActionSpec, Needs
from simscaleai.errors import SimScaleError
from simscaleai.json_data import DAMAGE, damage_text, plain, read_checked

EXTENSION = "simscale"
"""Key of the extension in metadata, requests and replies."""
VERSION = 1
"""Version of the extension."""
PROMPT = "prompt"
"""Key of the instruction in a request."""
ACTIONS = "actions"
"""Key of the chunk of actions (H, D) in a reply."""
UNKNOWN_EPISODE = {EXTENSION: {"unknown_episode": True}}
"""Reply to a call of an episode that the server does not know."""
API_KEY_VARIABLE = "SIMSCALE_API_KEY"
"""Environment variable with the key that a client shows to a server, and that a server asks for."""


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """What a server says about its policy."""

    version: int = VERSION
    identity: str
    """Identity of the policy."""
    needs: Needs
    """Observations that the policy needs."""
    action: ActionSpec
    """Meaning of the actions that the server sends."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the policy that say how its chunks are executed."""

    def to_json(self) -> dict[str, Any]:
        """Return the announcement as plain data for the metadata."""
        data: dict[str, Any] = plain(asdict(self))
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Announcement:
        """Rebuild an announcement from `to_json`.

        Raises:
            SimScaleError: If the data is damaged, or belongs to another version.
        """
        version = data.get("version") if isinstance(data, Mapping) else None
        if version != VERSION:
            raise SimScaleError(f"expected version {VERSION} of seeded serving, the server has {version!r:.40}")
        try:
            return read_checked(cls, data)
        except SimScaleError:
            raise
        except DAMAGE as error:
            raise SimScaleError(f"the server announces something else than a policy: {damage_text(error)}") from error


def episode_part(episode: str, seed: int, call: int) -> dict[str, Any]:
    """Return what a client adds to a request.

    Args:
        episode: Text that names the episode, unique among all clients of the server.
        seed: Seed of the episode.
        call: Number of the prediction in the episode, from 0.
    """
    return {EXTENSION: {"episode": episode, "seed": seed, "call": call}}
