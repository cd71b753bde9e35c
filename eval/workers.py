"""Runs a plan in several processes: each episode once, results in the parent as they come.

Every worker has its own interpreter, GL context and simulation, on one thread each, and asks for an episode whenever
a slot is free, so that none waits for another. An episode is a function of policy, environment and seed, so it does not
matter who runs it, or how often a worker dies on the way.

A worker that dies takes the episodes down that it was running. Which of them was to blame is not known, so each runs
again with no other beside it; one that takes a worker down then, too, is an `error`.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from typing import Any

from eval.observers.base import Observer
from eval.plan import EpisodeSpec
from eval.results import WORKER_DIED, EpisodeResult
from eval.worker import Breakdown, WorkerJob, work
from simscaleai.errors import SimScaleError

MAX_FALSE_STARTS = 3
"""Workers that may die in a row before they ask for an episode; then something is wrong with all of them."""

logger = logging.getLogger(__name__)

_SECONDS_TO_END = 5.0
_SLOT_ELSEWHERE = -1
_ONE_THREAD_EACH = dict.fromkeys(("LP_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_CONTEXT = multiprocessing.get_context("spawn")


def run_in_workers(
    job: WorkerJob, plan: Sequence[EpisodeSpec], workers: int, observers: Sequence[Observer]
) -> list[EpisodeResult]:
    """Run each episode of `plan` once in `workers` processes and return the results sorted by episode.

    If an observer has seen enough, the workers are ended then, whatever they are at.

    Args:
        job: What the workers build; `job.num_envs` slots in each.
        plan: Episodes with distinct indices.
        workers: Number of processes.
        observers: Told of each result and of the end of the run; slots and steps are in other processes. Results that
            workers had sent when an observer had seen enough still come.

    Raises:
        SimScaleError: If a worker finds the set-up wrong, or none can be started.
        KeyboardInterrupt: If interrupted, after every result that was sent has reached the observers.
    """
    return _Crew(job, plan, min(workers, len(plan)), observers).run()


class _Worker:
    """One process, seen from the parent."""

    def __init__(self, job: WorkerJob, *, solitary: bool) -> None:
        """Start a process; a `solitary` one has a single slot."""
        self.solitary = solitary
        self.specs: dict[int, EpisodeSpec] = {}
        """Episodes it was given and has not finished, by index."""
        self.has_begun = False
        """Whether it ever asked for an episode."""
        self.connection, theirs = _CONTEXT.Pipe()
        job = replace(job, num_envs=1) if solitary else job
        self.process = _CONTEXT.Process(target=work, args=(theirs, job), daemon=True)
        self.process.start()
        theirs.close()

    def stop(self) -> None:
        """End the process, by force if it must be."""
        self.process.terminate()
        self.process.join(_SECONDS_TO_END)
        self.process.kill()
        self.process.join()


@contextmanager
def inherited_by_workers() -> Iterator[None]:
    """Give processes started here one thread for each library, and leave Ctrl-C, which reaches all, to the parent."""
    resource_tracker.ensure_running()  # it comes with the first process, and would undo the block when it starts
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    before = {name: os.environ.get(name) for name in _ONE_THREAD_EACH}
    os.environ.update(_ONE_THREAD_EACH)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class _Crew:
    """The workers of one run and what is left to do."""

    def __init__(self, job: WorkerJob, plan: Sequence[EpisodeSpec], size: int, observers: Sequence[Observer]) -> None:
        self._job, self._size, self._observers = job, size, observers
        self._planned = len(plan)
        self._waiting = deque(plan)
        # Episodes that were running when a worker died; they run one at a time in solitary workers.
        self._suspects: deque[EpisodeSpec] = deque()
        self._workers: dict[Any, _Worker] = {}
        self._results: list[EpisodeResult] = []
        self._false_starts = 0

    def run(self) -> list[EpisodeResult]:
        try:
            while self._is_unfinished():
                self._hire()
                for connection in wait(list(self._workers)):
                    self._attend(self._workers[connection])
            self._end_workers()  # first, since observers may hear of no result after the end of the run
            results = sorted(self._results, key=lambda result: result.episode_index)
            for observer in self._observers:
                observer.on_run_end(results)
            return results
        finally:
            self._end_workers()
            for observer in self._observers:
                observer.close()

    def _is_unfinished(self) -> bool:
        enough = any(observer.has_seen_enough for observer in self._observers)
        return len(self._results) < self._planned and not enough

    def _hire(self) -> None:
        """Start as many workers as there is room and work for."""
        while len(self._workers) < self._size:
            solitaries = sum(worker.solitary for worker in self._workers.values())
            solitary = len(self._suspects) > solitaries
            if not (solitary or self._waiting):
                break
            with inherited_by_workers():  # an interrupt comes when the worker is among those to be ended
                worker = _Worker(self._job, solitary=solitary)
                self._workers[worker.connection] = worker
        if not self._workers:  # nobody would ever be heard of again
            raise RuntimeError(f"{self._planned - len(self._results)} episodes were lost; this is a bug")

    def _attend(self, worker: _Worker) -> None:
        """Hear what a worker has to say, or that it has ended."""
        try:
            message = worker.connection.recv()
            if message is None:
                self._give(worker)
        except (EOFError, OSError):
            self._part(worker)
            return
        self._take(worker, message)

    def _give(self, worker: _Worker) -> None:
        worker.has_begun = True
        self._false_starts = 0
        queue = self._suspects if worker.solitary else self._waiting
        spec = queue.popleft() if queue else None
        if spec is not None:
            worker.specs[spec.episode_index] = spec
        worker.connection.send(spec)

    def _take(self, worker: _Worker, message: EpisodeResult | Breakdown | None) -> None:
        if isinstance(message, Breakdown):
            raise SimScaleError(message.text) if message.is_mistake else RuntimeError(f"in a worker:\n{message.text}")
        if message is not None:
            del worker.specs[message.episode_index]
            self._finish(message)

    def _finish(self, result: EpisodeResult) -> None:
        self._results.append(result)
        for observer in self._observers:
            observer.on_episode_end(_SLOT_ELSEWHERE, result)

    def _part(self, worker: _Worker) -> None:
        """Let go of a worker that has ended, and see to the episodes that it leaves."""
        worker.process.join(_SECONDS_TO_END)
        worker.stop()
        del self._workers[worker.connection]
        worker.connection.close()
        if not worker.has_begun:
            self._count_false_start(worker)
        code = worker.process.exitcode
        for spec in worker.specs.values():
            logger.warning("a worker died (exit code %s) in episode %d, seed %d", code, spec.episode_index, spec.seed)
            if worker.solitary:
                self._finish(_lost(spec, self._job))
            else:
                self._suspects.append(spec)

    def _count_false_start(self, worker: _Worker) -> None:
        self._false_starts += 1
        if self._false_starts == MAX_FALSE_STARTS:
            raise SimScaleError(
                f"{MAX_FALSE_STARTS} workers in a row ended before their first episode (exit code "
                f"{worker.process.exitcode}, a negative one is a signal); run with --workers 1 to see why. A script "
                'that calls eval.rollout.run needs `if __name__ == "__main__":`'
            )

    def _end_workers(self) -> None:
        """End all workers; results that they had sent by then still count."""
        for worker in self._workers.values():
            worker.process.terminate()
        for worker in self._workers.values():
            worker.stop()
        for worker in self._workers.values():
            for result in _unread(worker):
                self._finish(result)
            worker.connection.close()
        self._workers.clear()


def _unread(worker: _Worker) -> Iterator[EpisodeResult]:
    """Yield the results in the pipe of a worker that has ended."""
    with suppress(EOFError, OSError):
        while worker.connection.poll():
            message = worker.connection.recv()
            if isinstance(message, EpisodeResult):
                yield message


def _lost(spec: EpisodeSpec, job: WorkerJob) -> EpisodeResult:
    """Return the result of an episode that took down a worker which ran nothing else."""
    at_end = None if job.terminate_on_success else False
    return EpisodeResult(
        episode_index=spec.episode_index,
        seed=spec.seed,
        instruction=spec.instruction or "",
        target=spec.target,
        status="error",
        success_once=False,
        success_held=at_end,
        success_at_end=at_end,
        steps=0,
        return_=0.0,
        stage="",
        failure=WORKER_DIED,
        digest="",
    )
