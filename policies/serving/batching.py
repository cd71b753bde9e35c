"""Calls a policy from one thread, for all requests that are waiting together, while the event loop goes on."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Thread

import numpy as np
from numpy.typing import NDArray

from policies.base import Policy
from simscaleai.contract import Observation
from simscaleai.errors import PolicyUnavailable

_PATIENCE = 0.25
"""Longest wait for more requests, as a share of the time that the policy takes for a batch."""

_SHORTEST_WAIT = 0.001
"""Shortest wait [s]. Timers of the event loop are no finer."""


class PolicyFailed(Exception):
    """The policy raised an exception, or gave no chunk. The text is the traceback."""


@dataclass(frozen=True)
class Answer:
    """What the policy answers to one request."""

    actions: NDArray[np.float32]
    """Chunk of actions, shape (H, A)."""
    milliseconds: float
    """Time that the policy took for the batch of this request [ms]."""


@dataclass(frozen=True)
class Work:
    """One request to the policy."""

    slot: int
    observation: Observation
    """Arrays without an axis for rows."""
    begin: tuple[int, str] | None
    """Seed and instruction if the request begins an episode."""
    answer: asyncio.Future[Answer] = field(repr=False)


Outcome = Answer | Exception


class Batcher:
    """Hands requests to the policy in batches. Requests of one slot are answered in the order in which they came.

    When the policy is free, it gets the requests that are waiting. A tile takes as long with one row as with all of its
    rows, so a batch waits shortly for the episodes of the two batches before. Without that, two groups of clients would
    take turns, each with half a tile.
    """

    def __init__(self, policy: Policy, rows: int) -> None:
        """Start the thread.

        Args:
            policy: The policy. From now on it is called in the thread alone.
            rows: Requests in one call of `predict`. With 1, an exception concerns one request only.
        """
        self._policy, self._rows = policy, rows
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Work] = deque()
        self._arrived = asyncio.Event()
        self._batches: SimpleQueue[tuple[list[Work], asyncio.Future[None]] | None] = SimpleQueue()
        self._seconds = 0.0
        """Time that the policy took for the newest batch."""
        self._recent: deque[set[int]] = deque(maxlen=2)
        """Slots of the newest batches."""
        self.batches = self.requests = 0
        """Numbers of batches and requests that were answered."""
        # A daemon, since a policy that hangs must not keep the process from ending.
        self._thread = Thread(target=self._work, name="policy", daemon=True)
        self._thread.start()

    def submit(
        self, slot: int, observation: Observation, begin: tuple[int, str] | None = None
    ) -> asyncio.Future[Answer]:
        """Return the future answer to a request.

        The future raises `PolicyFailed`, or `PolicyUnavailable`.

        Args:
            slot: Slot of the policy.
            observation: Arrays that the policy needs, without an axis for rows.
            begin: Seed and instruction if the request begins an episode in the slot.
        """
        work = Work(slot, observation, begin, self._loop.create_future())
        self._waiting.append(work)
        self._arrived.set()
        return work.answer

    async def run(self) -> None:
        """Hand over requests until cancelled."""
        while True:
            await self._gather()
            batch = self._next_batch()
            done = self._loop.create_future()
            self._batches.put((batch, done))
            await done

    async def close(self, seconds: float) -> None:
        """Let the policy finish its batch, for at most `seconds`, and close it. Requests that wait get no answer."""
        self._batches.put(None)
        await asyncio.to_thread(self._thread.join, seconds)

    async def _gather(self) -> None:
        """Wait for a request, and shortly for more."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        wait = _PATIENCE * self._seconds
        if self._rows == 1 or wait < _SHORTEST_WAIT:
            return
        expected = min(self._rows, len(set[int]().union(*self._recent)))
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                while len(self._waiting) < expected:
                    self._arrived.clear()
                    await self._arrived.wait()

    def _next_batch(self) -> list[Work]:
        """Take requests of different slots, in ascending order of their slots."""
        batch: dict[int, Work] = {}
        later: list[Work] = []
        while self._waiting and len(batch) < self._rows:
            work = self._waiting.popleft()
            if work.slot in batch:
                later.append(work)
            else:
                batch[work.slot] = work
        self._waiting.extendleft(reversed(later))
        self._recent.append(set(batch))
        return [batch[slot] for slot in sorted(batch)]

    def _work(self) -> None:
        while (item := self._batches.get()) is not None:
            batch, done = item
            begin = time.perf_counter()
            outcomes = self._outcomes(batch)
            seconds = time.perf_counter() - begin
            with suppress(RuntimeError):  # the event loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._deliver, batch, outcomes, seconds, done)
        with suppress(Exception, SystemExit):
            getattr(self._policy, "close", lambda: None)()

    def _deliver(
        self, batch: Sequence[Work], outcomes: Sequence[Outcome], seconds: float, done: asyncio.Future[None]
    ) -> None:
        self._seconds = seconds
        self.batches, self.requests = self.batches + 1, self.requests + len(batch)
        for work, outcome in zip(batch, outcomes, strict=True):
            if work.answer.done():  # nobody waits for it any more
                continue
            if isinstance(outcome, Answer):
                work.answer.set_result(outcome)
            else:
                work.answer.set_exception(outcome)
        if not done.done():
            done.set_result(None)

    # In the thread

    def _outcomes(self, batch: Sequence[Work]) -> list[Outcome]:
        """Return an answer or an exception for each request."""
        outcomes: dict[int, Outcome] = {}
        for work in batch:
            if work.begin is not None and (problem := self._begin(work.slot, *work.begin)):
                outcomes[work.slot] = problem
        ready = [work for work in batch if work.slot not in outcomes]
        if ready:
            outcomes.update(zip((work.slot for work in ready), self._predict(ready), strict=True))
        return [outcomes[work.slot] for work in batch]

    def _begin(self, slot: int, seed: int, instruction: str) -> Exception | None:
        try:
            self._policy.reset(np.array([slot], dtype=np.intp), [seed], [instruction])
        except BaseException as error:  # SystemExit, too: research code calls sys.exit
            return _failure(error)
        return None

    def _predict(self, batch: Sequence[Work]) -> list[Outcome]:
        begin = time.perf_counter()
        try:
            slots = np.array([work.slot for work in batch], dtype=np.intp)
            observation = {key: np.stack([work.observation[key] for work in batch]) for key in self._policy.needs.keys}
            chunks = _checked(self._policy.predict(observation, slots), len(batch))
        except BaseException as error:
            return [_failure(error) for _ in batch]
        milliseconds = 1000 * (time.perf_counter() - begin)
        return [Answer(chunk.copy(), milliseconds) for chunk in chunks]


def _checked(chunks: object, rows: int) -> NDArray[np.float32]:
    """Return the answer of a policy if it is one chunk for each of `rows` rows."""
    expected = f"expected chunks as float32 array of shape ({rows}, H, A)"
    if not isinstance(chunks, np.ndarray):
        raise TypeError(f"{expected}, the policy gave {type(chunks).__name__}")
    if chunks.ndim != 3 or len(chunks) != rows or not chunks.shape[1] or chunks.dtype != np.float32:
        raise TypeError(f"{expected}, the policy gave {chunks.dtype} of shape {chunks.shape}")
    return chunks


def _failure(error: BaseException) -> Exception:
    if isinstance(error, PolicyUnavailable):
        return error
    return PolicyFailed("".join(traceback.format_exception(error)))
