"""The conversation with one client: which episode a request belongs to, and what is replied.

A client that knows the seeded extension names episode, seed and prediction in every request. It gets the actions that
the policy gives in process. For every other client, a connection is a stream of episodes with seeds of the server: a
new one begins with the first request, with another prompt, and after a reset of the RoboArena dialect.
"""

from __future__ import annotations

import time
from asyncio import Future
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from policies.foreign.openpi.announcement import ACTIONS, UNKNOWN_EPISODE
from policies.foreign.openpi.codec import CodecError, pack, unpack
from policies.serving.batching import Answer, Batcher, PolicyFailed
from policies.serving.episodes import Episodes
from policies.serving.requests import ENDPOINT, BadRequest, Call, read_call, read_observation, read_prompt
from simscaleai.contract import Needs
from simscaleai.errors import PolicyUnavailable

RESET_REPLY = "reset successful"
"""Reply to a reset of the RoboArena dialect, a text frame."""


@dataclass(frozen=True)
class Service:
    """What all sessions of a server share."""

    needs: Needs
    """Observations that the policy needs."""
    episodes: Episodes
    """The live episodes."""
    batcher: Batcher
    """Calls the policy."""
    seeds: Iterator[int]
    """Seeds for clients that name none."""


class Session:
    """Answers the requests of one connection, one after the other."""

    def __init__(self, service: Service) -> None:
        """Begin without an episode."""
        self._service = service
        self._prompt = ""
        self._begin = 0.0
        self._previous_ms: float | None = None

    async def reply(self, frame: bytes | str) -> bytes | str:
        """Return the reply to a request, a binary or text frame.

        Raises:
            BadRequest: If the request cannot be answered.
            PolicyFailed: If the policy raised an exception.
            PolicyUnavailable: If the policy is a client itself, and its server is lost.
            ServerFull: If no slot is free for a new episode.
        """
        self._begin = time.perf_counter()
        data = _decoded(frame)
        if _endpoint(data) == "reset":
            self._service.episodes.end(self)
            return RESET_REPLY
        answer = await self._answer(data, frame)
        return pack(UNKNOWN_EPISODE if answer is None else self._reply(answer))

    def note_sent(self) -> None:
        """Note that the newest reply was sent."""
        self._previous_ms = _milliseconds_since(self._begin)

    def close(self) -> None:
        """End what depends on the connection. An episode with a name stays for a while: its client may come back."""
        self._service.episodes.end(self)
        self._service.episodes.leave(self)

    def _reply(self, answer: Answer) -> dict[str, Any]:
        timing = {"infer_ms": _milliseconds_since(self._begin)}
        if self._previous_ms is not None:
            timing["prev_total_ms"] = self._previous_ms
        policy_timing = {"infer_ms": answer.milliseconds}
        return {ACTIONS: answer.actions, "policy_timing": policy_timing, "server_timing": timing}

    async def _answer(self, data: Mapping[str, Any], frame: bytes | str) -> Answer | None:
        """Return the answer of the policy; None if the request goes on with an episode that is not live."""
        call = read_call(data)
        future = self._ask(data) if call is None else self._ask_seeded(call, data, frame)
        try:
            return None if future is None else await future
        except (PolicyFailed, PolicyUnavailable):
            self._service.episodes.end(self if call is None else call.episode)  # its memory is undefined now
            raise

    def _ask(self, data: Mapping[str, Any]) -> Future[Answer]:
        """Pass on a request without a seed."""
        service = self._service
        observation, prompt = read_observation(data, service.needs), read_prompt(data, service.needs)
        episode = service.episodes.find(self, self)
        if episode is not None and (prompt == self._prompt or not service.needs.instruction):
            return service.batcher.submit(episode.slot, observation)
        self._prompt, episode = prompt, service.episodes.begin(self, self)
        return service.batcher.submit(episode.slot, observation, (next(service.seeds), prompt))

    def _ask_seeded(self, call: Call, data: Mapping[str, Any], frame: bytes | str) -> Future[Answer] | None:
        """Pass on a request with a seed, or return the answer that was given before if the request is repeated."""
        service = self._service
        episode = service.episodes.find(call.episode, self)
        if call.number == 0:
            digest = blake2b(frame.encode() if isinstance(frame, str) else frame).digest()
            if episode is not None and episode.newest == 0 and episode.first_request == digest:
                return episode.answer
            observation, prompt = read_observation(data, service.needs), read_prompt(data, service.needs)
            episode = service.episodes.begin(call.episode, self)
            episode.first_request = digest
            answer = service.batcher.submit(episode.slot, observation, (call.seed, prompt))
        elif episode is None or call.number == episode.newest:
            return None if episode is None else episode.answer
        elif call.number == episode.newest + 1:
            answer = service.batcher.submit(episode.slot, read_observation(data, service.needs))
        else:
            newest = episode.newest
            raise BadRequest(f"expected call {newest} or {newest + 1} of this episode, got {call.number}")
        episode.newest, episode.answer = call.number, answer
        return answer


def _decoded(frame: bytes | str) -> Mapping[str, Any]:
    if isinstance(frame, str):
        raise BadRequest("expected requests as binary frames, got a text frame")
    try:
        return unpack(frame)
    except CodecError as error:
        raise BadRequest(str(error)) from None


def _endpoint(data: Mapping[str, Any]) -> str:
    endpoint = data.get(ENDPOINT, "infer")
    if endpoint not in ("infer", "reset"):
        raise BadRequest(f"expected the endpoint 'infer' or 'reset', got {endpoint!r:.60}")
    return str(endpoint)


def _milliseconds_since(begin: float) -> float:
    return 1000 * (time.perf_counter() - begin)
