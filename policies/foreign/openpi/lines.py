"""Several connections to one policy server, so that it can compute the requests of several slots together."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from policies.foreign.openpi.client import Server


class Lines:
    """Connections to one server. A slot always uses the same one."""

    def __init__(self, server: Server, number: int) -> None:
        """Use the connection of `server`, and others, `number` in all. The others are opened when they are needed."""
        self._servers = [server, *(server.another() for _ in range(number - 1))]
        self._threads = ThreadPoolExecutor(number, thread_name_prefix="policy-server")

    def ask(self, slots: Sequence[int], requests: Sequence[bytes], *, may_repeat: bool) -> list[bytes | str]:
        """Send the request of each slot, and return the reply to each; see `Server.ask`."""
        places: dict[int, list[int]] = {}
        for place, slot in enumerate(slots):
            places.setdefault(slot % len(self._servers), []).append(place)
        if len(places) == 1:
            (line,) = places
            return self._servers[line].ask(requests, may_repeat=may_repeat)
        asked = []
        for line, own in places.items():
            frames = [requests[place] for place in own]
            asked.append(self._threads.submit(self._servers[line].ask, frames, may_repeat=may_repeat))
        wait(asked)  # also if one fails: two threads must never use one connection
        replies: dict[int, bytes | str] = {}
        for own, one in zip(places.values(), asked, strict=True):
            replies.update(zip(own, one.result(), strict=True))
        return [replies[place] for place in range(len(requests))]

    def close(self) -> None:
        """Close all connections."""
        for server in self._servers:
            server.kill()
        self._threads.shutdown()
        for server in self._servers:
            server.close()
