"""A worker of a Ray cluster: an actor that builds policy and environment once, and runs the episodes that it gets.

Where one process of a machine computes the policy, the worker has all processes of the run on this machine: it
starts the inference process and processes that simulate, as `--executor process` does on one machine.

The driver calls `exchange` again and again. Each call brings new episodes and takes back what happened meanwhile. The
worker has more episodes than slots, so that it goes on while the driver answers. The files of an episode, such as
its receipt, travel with its result, because the machines need no common folder for results.
"""

from __future__ import annotations

import os
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from threading import Thread

from eval.episodes.observer import Observer
from eval.episodes.plan import EpisodeSpec
from eval.episodes.pulse import Pulse
from eval.episodes.results import EpisodeResult
from eval.execution.worker import Breakdown, PortableJob
from simscaleai.errors import SimScaleError

_SECONDS_BETWEEN_CHECKS = 1.0


@dataclass(frozen=True)
class Finished:
    """One episode that has ended."""

    result: EpisodeResult
    files: Mapping[str, bytes]
    """Path below the folder of the run to content."""


@dataclass(frozen=True)
class Hang:
    """The policy or the environment has not answered within `--timeout`."""

    party: int
    """`POLICY` or `ENVIRONMENT` of `eval.episodes.pulse`."""


News = Finished | Breakdown | Hang
"""What a worker reports."""

RunElsewhere = Callable[[PortableJob, Connection, Observer], object]
"""Runs the episodes of a job that come from a pipe, None for no more. The observer gets their results."""


class RemoteWorker:
    """The actor. The episodes run in one thread or in processes of their own, its calls in other threads."""

    def __init__(self, job: PortableJob, run_elsewhere: RunElsewhere | None, variables: Mapping[str, str]) -> None:
        """Start to build the policy and the environment of `job`.

        Args:
            job: What to run.
            run_elsewhere: Runs the episodes in processes of their own; None if they run in a thread of this process.
            variables: Environment variables of the command that the worker needs, too.
        """
        os.environ.update(variables)
        self._timeout = job.timeout
        self._folder = TemporaryDirectory(prefix="simscale-", ignore_cleanup_errors=True)
        self._given: SimpleQueue[EpisodeSpec | None] = SimpleQueue()
        self._news: SimpleQueue[News] = SimpleQueue()
        self._pulse = Pulse()
        Thread(target=self._run, args=(job, run_elsewhere), daemon=True).start()

    def exchange(self, specs: Sequence[EpisodeSpec | None]) -> list[News]:
        """Add `specs` to the episodes to run, None for no more. Return the news as soon as there are any."""
        for spec in specs:
            self._given.put(spec)
        news = [self._next()]
        while not self._news.empty():
            news.append(self._news.get())
        return news

    def arrive(self) -> list[News]:
        """Return no news: the call ends when the worker has a place in the cluster."""
        return []

    def close(self) -> None:
        """Remove the files of unfinished episodes."""
        self._folder.cleanup()

    def _next(self) -> News:
        while True:
            with suppress(Empty):
                return self._news.get(timeout=_SECONDS_BETWEEN_CHECKS)
            if party := self._pulse.overdue(self._timeout):
                return Hang(party)

    def _run(self, job: PortableJob, run_elsewhere: RunElsewhere | None) -> None:
        with suppress(OSError):  # another machine need not have the folder
            os.chdir(job.home)
        job = replace(job, folder=Path(self._folder.name), home=Path.cwd())
        reporter = _Reporter(job, self._news)
        try:
            if run_elsewhere is None:
                job.run(iter(self._given.get, None), reporter, self._pulse)
            else:
                vars(sys.modules["__main__"]).pop("__file__", None)  # which processes would import: a program of Ray
                run_elsewhere(job, self._pipe(), reporter)
        except SimScaleError as mistake:
            self._news.put(Breakdown(f"worker on {socket.gethostname()}: {mistake}", is_mistake=True))
        except Exception:  # otherwise the driver would wait for ever
            self._news.put(Breakdown(traceback.format_exc(), is_mistake=False))

    def _pipe(self) -> Connection:
        """Return a pipe from which the episodes to run come, None for no more."""
        theirs, ours = Pipe(duplex=False)
        Thread(target=self._pass_on, args=(ours,), daemon=True).start()
        return theirs

    def _pass_on(self, pipe: Connection) -> None:
        for spec in iter(self._given.get, None):
            pipe.send(spec)
        pipe.send(None)


class _Reporter(Observer):
    """Puts each result, with the files of its episode, among the news."""

    def __init__(self, job: PortableJob, news: SimpleQueue[News]) -> None:
        self._job, self._news = job, news

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        files = dict(_moved(self._job.folder, self._job.files_of(result.episode_index)))
        self._news.put(Finished(result, files))


def _moved(folder: Path, paths: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of those `paths` in `folder` that exist, and remove them."""
    for path in paths:
        if path.exists():
            yield path.relative_to(folder).as_posix(), path.read_bytes()
            path.unlink()
