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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread

from eval.assembly import build_environment, build_policy
from eval.loop import USER_MISTAKES, rollout
from eval.observers.base import Observer
from eval.observers.video import VideoRecorder
from eval.plan import EpisodeSpec
from eval.receipt import ReceiptKeeper
from eval.results import EpisodeResult


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything a worker needs to know to run any episode of a plan."""

    model: str
    checkpoint: Path | None
    env_id: str
    num_envs: int
    terminate_on_success: bool
    video_folder: Path
    filmed: range
    """Indices of the episodes to film."""
    receipt_folder: Path
    receipted: Mapping[int, int]
    """Seeds of the episodes that get a receipt, to their indices."""


@dataclass(frozen=True)
class Breakdown:
    """A worker's last words, when what went wrong is not the doing of one episode."""

    text: str
    is_mistake: bool
    """Whether it is the user's mistake, told in one line; otherwise the text is a traceback."""


def work(connection: Connection, job: Job) -> None:
    """Run episodes until the parent has no more; the entry point of a worker process."""
    Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, ConnectionError):  # the parent is gone, and nobody is left to be told
        try:
            _run_episodes(connection, job)
        except USER_MISTAKES as mistake:
            connection.send(Breakdown(str(mistake), is_mistake=True))
        except (EOFError, ConnectionError):
            raise
        except Exception:  # whatever it is, the parent must hear of it: it would take silence for a crash
            connection.send(Breakdown(traceback.format_exc(), is_mistake=False))


def _run_episodes(connection: Connection, job: Job) -> None:
    policy = build_policy(job.model, job.checkpoint, job.env_id)
    env = build_environment(
        policy.contract, job.env_id, job.num_envs, terminate_on_success=job.terminate_on_success, num_threads=1
    )
    policy = ReceiptKeeper(policy, job.receipt_folder, job.receipted)
    # An episode is reported when its film is complete, so that a kill in between costs neither.
    rollout(env, policy, _orders(connection), [VideoRecorder(job.video_folder, job.filmed), _Reporter(connection)])
    env.close()


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
