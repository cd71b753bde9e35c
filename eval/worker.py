"""What one worker process does: builds policy and environment, and runs the episodes that it is given.

Over its pipe a worker sends `None` when a slot is free, and the parent answers with an `EpisodeSpec`, or with `None`
when there is nothing left; finished episodes go back as `EpisodeResult`. Nothing else is shared: the parent alone
writes the record.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread

from eval.assembly import build_environment, build_policy
from eval.interventions import Interventions
from eval.loop import USER_MISTAKES, rollout
from eval.observers.base import Observer
from eval.observers.video import VideoRecorder, video_paths
from eval.plan import EpisodeSpec
from eval.receipt import ReceiptKeeper
from eval.results import EpisodeResult


@dataclass(frozen=True, kw_only=True)
class WorkerJob(ABC):
    """Everything a worker needs to know to run any episode of a plan."""

    num_envs: int
    """Slots of each worker."""
    terminate_on_success: bool

    @abstractmethod
    def run(self, plan: Iterable[EpisodeSpec], reporter: Observer) -> None:
        """Run the episodes of `plan`, taking one each time that a slot is free; `reporter` comes after all observers.

        An episode counts when the reporter has heard of it: what belongs to it must be on disk by then.
        """


@dataclass(frozen=True, kw_only=True)
class Job(WorkerJob):
    """The episodes of an evaluation."""

    model: str
    checkpoint: Path | None
    env_id: str
    interventions: Interventions
    video_folder: Path
    filmed: range
    """Indices of the episodes to film."""
    receipt_folder: Path
    receipted: Mapping[int, int]
    """Seeds of the episodes that get a receipt, to their indices."""

    def run(self, plan: Iterable[EpisodeSpec], reporter: Observer) -> None:
        """Evaluate the episodes of `plan`."""
        policy = build_policy(self.model, self.checkpoint, self.env_id)
        self.interventions.prepare(policy, self.env_id)
        env = build_environment(
            policy.contract, self.env_id, self.num_envs, terminate_on_success=self.terminate_on_success, num_threads=1
        )
        keeper = ReceiptKeeper(policy, self.receipt_folder, self.receipted)
        policy = self.interventions.stand_before(keeper, self.env_id)
        rollout(env, policy, plan, [VideoRecorder(video_paths(self.video_folder, self.filmed)), reporter])
        env.close()


@dataclass(frozen=True)
class Breakdown:
    """A worker's last words, when what went wrong is not the doing of one episode."""

    text: str
    is_mistake: bool
    """Whether it is the user's mistake, told in one line; otherwise the text is a traceback."""


def work(connection: Connection, job: WorkerJob) -> None:
    """Run episodes until the parent has no more; the entry point of a worker process."""
    Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, ConnectionError):  # the parent is gone, and nobody is left to be told
        try:
            job.run(_orders(connection), _Reporter(connection))
        except USER_MISTAKES as mistake:
            connection.send(Breakdown(str(mistake), is_mistake=True))
        except (EOFError, ConnectionError):
            raise
        except Exception:  # whatever it is, the parent must hear of it: it would take silence for a crash
            connection.send(Breakdown(traceback.format_exc(), is_mistake=False))


def _orders(connection: Connection) -> Iterator[EpisodeSpec]:
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


def _end_with_parent() -> None:
    """End this process at once when the parent's ends, however that happens and whatever this one is busy with."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
