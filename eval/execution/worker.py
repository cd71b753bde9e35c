"""What one worker process does: it builds policy and environment, and runs the episodes that it is given.

A worker sends `None` through its pipe when a slot is free. The parent answers with an `EpisodeSpec`, or with `None` if
none is left. Finished episodes go back as `EpisodeResult`. Two shared numbers tell the parent who the worker is waiting
for (`Pulse`). The parent alone writes the record.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, MutableSequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from threading import Thread

from eval.episodes.observer import Observer
from eval.episodes.plan import EpisodeSpec
from eval.episodes.pulse import Pulse
from eval.episodes.results import EpisodeResult
from simscaleai.errors import SimScaleError

TIMEOUT_SECONDS = 600.0
"""Default time that policy or environment may take for one answer [s]. It lies far above what a busy machine causes."""


@dataclass(frozen=True, kw_only=True)
class WorkerJob(ABC):
    """Everything that a worker needs to know to run any episode of a plan."""

    num_envs: int
    """Slots of each worker."""
    terminate_on_success: bool
    timeout: float = TIMEOUT_SECONDS
    """Time that policy or environment may take for one answer [s]."""

    @abstractmethod
    def run(self, plan: Iterable[EpisodeSpec], reporter: Observer, pulse: Pulse) -> None:
        """Run the episodes of `plan`, taking one whenever a slot is free.

        An episode counts when `reporter` is told of it. Everything that belongs to it must be on disk by then, so
        `reporter` comes after all other observers.
        """


@dataclass(frozen=True)
class Breakdown:
    """Last message of a worker that cannot go on for a reason that is not one episode's."""

    text: str
    is_mistake: bool
    """Whether it is a user's mistake, told in one line; otherwise `text` is a traceback."""


def work(connection: Connection, job: WorkerJob, cells: MutableSequence[float]) -> None:
    """Run episodes until the parent has no more. This is the entry point of a worker process.

    Args:
        connection: Pipe to the parent.
        job: What to run.
        cells: Two shared numbers for the worker's `Pulse`.
    """
    Thread(target=_exit_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, ConnectionError):  # the parent has ended, nobody listens
        try:
            job.run(_requests(connection), _Reporter(connection), Pulse(cells))
        except SimScaleError as mistake:
            connection.send(Breakdown(str(mistake), is_mistake=True))
        except (EOFError, ConnectionError):
            raise
        except Exception:  # the parent must be told, or it would take the silence for a crash
            connection.send(Breakdown(traceback.format_exc(), is_mistake=False))


def _requests(connection: Connection) -> Iterator[EpisodeSpec]:
    """Ask for one episode each time that a slot is free, until there is none."""
    while True:
        connection.send(None)
        spec: EpisodeSpec | None = connection.recv()
        if spec is None:
            return
        yield spec


class _Reporter(Observer):
    """Sends results to the parent."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        self._connection.send(result)


def _exit_with_parent() -> None:
    """End this process when the parent ends, whatever this process is doing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
