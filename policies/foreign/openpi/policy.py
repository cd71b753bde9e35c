"""`--model ws://HOST:PORT`: a policy that a server computes, by the openpi protocol."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from policies.base import Chunks, EnvSpec, Observation, Policy, PolicyUnavailable, Slots
from policies.foreign.openpi.adapter import Adapter, adapter_names, read_adapter
from policies.foreign.openpi.announcement import EXTENSION, UNKNOWN_EPISODE, Announcement, episode_part
from policies.foreign.openpi.client import Server
from policies.foreign.openpi.codec import pack, unpack_any
from policies.foreign.openpi.lines import Lines
from policies.foreign.openpi.roboarena import check_images, infer_request, reset_request, speaks_roboarena
from policies.foreign.openpi.translation import AdapterTranslation, NativeTranslation, Translation
from policies.options import ADAPTER, EXECUTION_OPTIONS, with_execution
from simscaleai.errors import SimScaleError, UnknownNameError

_SEEDED_LINES = 8
"""Connections to a server that takes seeds: it computes requests of several connections together."""


@dataclass
class _Episode:
    """The episode of one slot."""

    name: str
    """Unique name."""
    seed: int
    instruction: str
    calls: int = 0
    """Number of predictions so far."""


class ServedPolicy(Policy):
    """Asks a server for each chunk, one slot per request."""

    def __init__(self, server: Server, translation: Translation, *, is_seeded: bool, identity: str) -> None:
        """Use a `server` that was connected.

        Args:
            server: The server.
            translation: What goes where between the environment and the server.
            is_seeded: Whether the server takes the seeds of episodes.
            identity: Identity of the policy.
        """
        self.needs, self.identity = translation.needs, identity
        self._lines = Lines(server, _SEEDED_LINES if is_seeded else 1)
        self._translation, self._is_seeded = translation, is_seeded
        self._speaks_roboarena = speaks_roboarena(server.metadata)
        self._run = uuid.uuid4().hex
        self._begun = 0
        self._episodes: dict[int, _Episode] = {}

    def reset(self, slots: Slots, seeds: Sequence[int], instructions: Sequence[str]) -> None:
        """Begin an episode in each of `slots`. Only servers of the RoboArena dialect are told so here."""
        for slot, seed, instruction in zip(slots.tolist(), seeds, instructions, strict=True):
            self._begun += 1
            self._episodes[slot] = _Episode(f"{self._run}-{slot}-{self._begun}", seed, instruction)
            if self._speaks_roboarena:
                request = reset_request(self._translation.session(self._episodes[slot].name))
                self._lines.ask([slot], [pack(request)], may_repeat=True)

    def predict(self, observation: Observation, slots: Slots) -> Chunks:
        """Return the chunks that the server computes, float32 (n, H, A).

        Raises:
            PolicyUnavailable: If the server cannot be reached, is silent, or has forgotten an episode.
            ServedPolicyError: If the server reports an error of its policy.
            TypeError: If a reply holds no actions of the right size, or chunks have different lengths.
        """
        episodes = [self._episodes[slot] for slot in slots.tolist()]
        requests = [
            pack(self._request({key: rows[row] for key, rows in observation.items()}, episode))
            for row, episode in enumerate(episodes)
        ]
        replies = self._lines.ask(slots.tolist(), requests, may_repeat=not self._speaks_roboarena)
        chunks = [self._translation.chunk(_read(reply)) for reply in replies]
        if len(lengths := {len(chunk) for chunk in chunks}) > 1:
            raise TypeError(f"expected chunks of the same length, got {sorted(lengths)}")
        for episode in episodes:
            episode.calls += 1
        return np.stack(chunks)

    def close(self) -> None:
        """Close the connections."""
        self._lines.close()

    def _request(self, seen: Observation, episode: _Episode) -> dict[str, Any]:
        request = self._translation.request(seen, episode.instruction)
        request |= self._translation.session(episode.name)
        if self._is_seeded:
            request |= episode_part(episode.name, episode.seed, episode.calls)
        return infer_request(request) if self._speaks_roboarena else request


def served_policy(url: str, spec: EnvSpec, options: Mapping[str, Any]) -> ServedPolicy:
    """Connect to a server, and return its policy for an environment that offers `spec`.

    Args:
        url: Address of the server.
        spec: What the environment offers.
        options: Values of options by name: `ADAPTER`, and the options of execution.

    Raises:
        SimScaleError: If an option or the adapter is invalid, the server cannot be used, or it does not say which
            observations it needs and no adapter does.
        MismatchError: If the actions have different meanings on both sides.
    """
    for name in options:
        if name not in (*EXECUTION_OPTIONS, ADAPTER):
            raise UnknownNameError("policy option", name, [*EXECUTION_OPTIONS, ADAPTER])
    adapter = read_adapter(str(options[ADAPTER])) if ADAPTER in options else None
    server = Server(url)
    try:
        return _policy_of(server, adapter, spec, options)
    except SimScaleError:
        server.close()
        raise


def _policy_of(server: Server, adapter: Adapter | None, spec: EnvSpec, options: Mapping[str, Any]) -> ServedPolicy:
    announced = Announcement.from_json(server.metadata[EXTENSION]) if EXTENSION in server.metadata else None
    if adapter is not None:
        check_images(server.metadata, {image.key: image.size for image in adapter.images})
        translation: Translation = AdapterTranslation(adapter, spec)
        identity = hashlib.sha256(server.greeting + adapter.digest.encode()).hexdigest()
        usual: Mapping[str, Any] = {"n_action_steps": adapter.n_action_steps} if adapter.n_action_steps else {}
    elif announced is not None:
        translation, identity, usual = NativeTranslation(announced, spec), announced.identity, announced.options
    else:
        raise SimScaleError(
            f"the server at {server.url} does not say which observations its policy needs; add --adapter "
            f"{', '.join(adapter_names())} or FILE.toml"
        )
    policy = ServedPolicy(server, translation, is_seeded=announced is not None, identity=identity)
    policy.options = with_execution(usual, options)
    return policy


def _read(reply: bytes | str) -> Any:
    """Return the data in a reply.

    Raises:
        PolicyUnavailable: If the server has forgotten the episode.
        TypeError: If the reply is a text.
    """
    if isinstance(reply, str):
        raise TypeError(f"expected actions from the server, got the text {reply!r}")
    data = unpack_any(reply)
    if isinstance(data, dict) and isinstance(data.get(EXTENSION), dict) and data == UNKNOWN_EPISODE:
        raise PolicyUnavailable("the server has forgotten the episode, for example because it was started again")
    return data
