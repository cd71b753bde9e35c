"""The live episodes of a server. Each has a slot of the policy, which is free for another one when it ends."""

from __future__ import annotations

import heapq
import time
from asyncio import Future
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from policies.serving.batching import Answer

SECONDS_IDLE = 600.0
"""Time after its last request at which an episode ends [s]."""

SECONDS_ALONE = 60.0
"""Time after its connection closed at which an episode ends [s]. The client may come back before."""


SECONDS_IN_USE = 10.0
"""Time after its last request in which an episode does not end to make room for another one [s]."""


class ServerFull(Exception):
    """As many episodes are in use as the server allows."""


@dataclass
class Episode:
    """One live episode."""

    slot: int
    """Slot of the policy."""
    newest: int = -1
    """Number of the newest prediction that was asked for; -1 before the first."""
    first_request: bytes = b""
    """Digest of the request that began the episode."""
    answer: Future[Answer] | None = None
    """Answer to the newest request."""
    owner: object = None
    """Connection of its newest request; None after that connection has closed."""
    used: float = 0.0
    """Time of its newest request, or at which its connection closed [s]."""


class Episodes:
    """Finds, begins and ends episodes. At most `most` are live."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without episodes; `clock` gives the time in seconds."""
        self._clock = clock
        self._live: dict[Hashable, Episode] = {}
        self._most = most
        self._free = list(range(most))  # a heap: the lowest slot first, so that few slots are ever used

    def __len__(self) -> int:
        """Return the number of live episodes."""
        return len(self._live)

    def find(self, key: Hashable, owner: object) -> Episode | None:
        """Return the live episode `key`, which the connection `owner` uses from now on; None if there is none."""
        episode = self._live.get(key)
        if episode is not None:
            episode.owner, episode.used = owner, self._clock()
        return episode

    def begin(self, key: Hashable, owner: object) -> Episode:
        """Begin the episode `key` for the connection `owner`. It replaces a live one of this name.

        If no slot is free, the episode ends that was not used for the longest time: clients do not say when an episode
        is over.

        Raises:
            ServerFull: If all episodes are in use.
        """
        self.end(key)
        if not self._free:
            oldest = min(self._live, key=lambda key: self._live[key].used)
            if self._clock() - self._live[oldest].used < SECONDS_IN_USE:
                raise ServerFull(f"all {self._most} episodes of the server are in use; try again later")
            self.end(oldest)
        episode = Episode(heapq.heappop(self._free), owner=owner, used=self._clock())
        self._live[key] = episode
        return episode

    def end(self, key: Hashable) -> None:
        """End the episode `key`, if it is live."""
        episode = self._live.pop(key, None)
        if episode is not None:
            heapq.heappush(self._free, episode.slot)

    def leave(self, owner: object) -> None:
        """Note that the connection `owner` has closed."""
        for episode in self._live.values():
            if episode.owner is owner:
                episode.owner, episode.used = None, self._clock()

    def expire(self) -> None:
        """End the episodes that were not used for too long."""
        now = self._clock()
        for key, episode in list(self._live.items()):
            if now - episode.used > (SECONDS_ALONE if episode.owner is None else SECONDS_IDLE):
                self.end(key)
