"""Runs a plan in several worker processes: each episode once, results in the parent as they come.

Every worker has its own interpreter, GL context and simulation, on one thread each. A worker asks for an episode
whenever a slot is free, so no worker waits for another. An episode is a function of policy, environment and start, so
it does not matter which worker runs it.

A worker that exits or hangs loses the episodes that it was running. Which of them was the cause is not known, so each
runs again with no other beside it. If that fails, too, the episode ends: as an error, or as a failure of the policy if
the policy did not answer.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator, MutableSequence, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.sharedctypes import RawArray
from typing import Any

from eval.episodes.observer import Observer
from eval.episodes.plan import EpisodeSpec
from eval.episodes.pulse import NOBODY, POLICY, Pulse
from eval.episodes.results import ENVIRONMENT_TIMEOUT, POLICY_TIMEOUT, WORKER_DIED, EpisodeResult, Status
from eval.execution.worker import Breakdown, WorkerJob, work
from simscaleai.errors import SimScaleError

MAX_FALSE_STARTS = 3
"""Workers that may exit in a row before they ask for an episode; then the set-up is wrong."""

logger = logging.getLogger(__name__)

_SECONDS_TO_EXIT = 5.0
_SECONDS_BETWEEN_CHECKS = 1.0
_SLOT_ELSEWHERE = -1
_ONE_THREAD_EACH = dict.fromkeys(("LP_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_CONTEXT = multiprocessing.get_context("spawn")


def run_in_workers(
    job: WorkerJob, plan: Sequence[EpisodeSpec], workers: int, observers: Sequence[Observer]
) -> list[EpisodeResult]:
    """Run each episode of `plan` once in `workers` processes and return the results sorted by episode.

    If an observer has seen enough, the workers are stopped then.

    Args:
        job: What the workers run; `job.num_envs` slots in each.
        plan: Episodes with distinct indices.
        workers: Number of processes.
        observers: Told of each result and of the end of the run; slots and steps are in other processes. Results that
            workers had sent before an observer had seen enough still come.

    Raises:
        SimScaleError: If a worker finds the set-up wrong, or none can be started.
        KeyboardInterrupt: If interrupted, after every result that was sent has reached the observers.
    """
    return _Pool(job, plan, min(workers, len(plan)), observers).run()


class _Worker:
    """One process, seen from the parent."""

    def __init__(self, job: WorkerJob, *, solitary: bool) -> None:
        """Start a process; a `solitary` one has a single slot."""
        self.solitary = solitary
        self.specs: dict[int, EpisodeSpec] = {}
        """Episodes that it was given and has not finished, by index."""
        self.has_begun = False
        """Whether it ever asked for an episode."""
        cells: MutableSequence[float] = RawArray("d", 2)
        self.pulse = Pulse(cells)
        self.connection, theirs = _CONTEXT.Pipe()
        job = replace(job, num_envs=1) if solitary else job
        self.process = _CONTEXT.Process(target=work, args=(theirs, job, cells), daemon=True)
        self.process.start()
        theirs.close()

    def stop(self) -> None:
        """End the process, by force if necessary."""
        self.process.terminate()
        self.process.join(_SECONDS_TO_EXIT)
        self.process.kill()
        self.process.join()


@contextmanager
def inherited_by_workers() -> Iterator[None]:
    """Give processes that are started here one thread for each library, and leave Ctrl-C to the parent."""
    resource_tracker.ensure_running()  # it starts with the first process, and would unblock the signal then
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


class _Pool:
    """The workers of one run, and the episodes that are left."""

    def __init__(self, job: WorkerJob, plan: Sequence[EpisodeSpec], size: int, observers: Sequence[Observer]) -> None:
        self._job, self._size, self._observers = job, size, observers
        self._planned = len(plan)
        self._waiting = deque(plan)
        self._suspects: deque[EpisodeSpec] = deque()
        """Episodes that were running when a worker exited or hung. They run one at a time in solitary workers."""
        self._workers: dict[Any, _Worker] = {}
        self._results: list[EpisodeResult] = []
        self._false_starts = 0

    def run(self) -> list[EpisodeResult]:
        try:
            while self._is_unfinished():
                self._start_workers()
                for connection in wait(list(self._workers), timeout=_SECONDS_BETWEEN_CHECKS):
                    self._receive(self._workers[connection])
                self._end_hanging_workers()
            self._stop_workers()  # first, since observers may hear of no result after the end of the run
            results = sorted(self._results, key=lambda result: result.episode_index)
            for observer in self._observers:
                observer.on_run_end(results)
            return results
        finally:
            self._stop_workers()
            for observer in self._observers:
                observer.close()

    def _is_unfinished(self) -> bool:
        enough = any(observer.has_seen_enough for observer in self._observers)
        return len(self._results) < self._planned and not enough

    def _start_workers(self) -> None:
        """Start as many workers as there is room and work for."""
        while len(self._workers) < self._size:
            solitary = len(self._suspects) > sum(worker.solitary for worker in self._workers.values())
            if not (solitary or self._waiting):
                break
            with inherited_by_workers():  # an interrupt comes when the worker is among those to be stopped
                worker = _Worker(self._job, solitary=solitary)
                self._workers[worker.connection] = worker
        if not self._workers:  # the run would wait for ever
            raise RuntimeError(f"{self._planned - len(self._results)} episodes were lost; this is a bug")

    def _receive(self, worker: _Worker) -> None:
        """Handle a message of a worker, or its exit."""
        try:
            message = worker.connection.recv()
            if message is None:
                self._give_episode(worker)
        except (EOFError, OSError):
            self._remove(worker, "error", WORKER_DIED)
            return
        if isinstance(message, Breakdown):
            raise SimScaleError(message.text) if message.is_mistake else RuntimeError(f"in a worker:\n{message.text}")
        if message is not None:
            del worker.specs[message.episode_index]
            self._finish(message)

    def _give_episode(self, worker: _Worker) -> None:
        worker.has_begun = True
        self._false_starts = 0
        queue = self._suspects if worker.solitary else self._waiting
        spec = queue.popleft() if queue else None
        if spec is not None:
            worker.specs[spec.episode_index] = spec
        worker.connection.send(spec)

    def _end_hanging_workers(self) -> None:
        for worker in list(self._workers.values()):
            party = worker.pulse.overdue(self._job.timeout)
            if party == NOBODY:
                continue
            worker.process.kill()
            for result in _unread_results(worker):
                del worker.specs[result.episode_index]
                self._finish(result)
            if party == POLICY:
                self._remove(worker, "failure", POLICY_TIMEOUT)
            else:
                self._remove(worker, "error", ENVIRONMENT_TIMEOUT)

    def _finish(self, result: EpisodeResult) -> None:
        self._results.append(result)
        for observer in self._observers:
            observer.on_episode_end(_SLOT_ELSEWHERE, result)

    def _remove(self, worker: _Worker, status: Status, failure: str) -> None:
        """Remove a worker that has exited, and plan its episodes again; those of a solitary worker end."""
        worker.process.join(_SECONDS_TO_EXIT)
        worker.stop()
        del self._workers[worker.connection]
        worker.connection.close()
        if not worker.has_begun:
            self._count_false_start(worker)
        code = worker.process.exitcode
        for spec in worker.specs.values():
            logger.warning(
                "worker exited (%s, exit code %s) in episode %d, seed %d", failure, code, spec.episode_index, spec.seed
            )
            if worker.solitary:
                self._finish(_lost_episode(spec, self._job, status, failure))
            else:
                self._suspects.append(spec)

    def _count_false_start(self, worker: _Worker) -> None:
        self._false_starts += 1
        if self._false_starts == MAX_FALSE_STARTS:
            raise SimScaleError(
                f"{MAX_FALSE_STARTS} workers in a row exited before their first episode (exit code "
                f"{worker.process.exitcode}, a negative one is a signal); run with --workers 1 to see why. A script "
                'that calls eval.rollout.run needs `if __name__ == "__main__":`'
            )

    def _stop_workers(self) -> None:
        """Stop all workers; results that they had sent still count."""
        for worker in self._workers.values():
            worker.process.terminate()
        for worker in self._workers.values():
            worker.stop()
        for worker in self._workers.values():
            for result in _unread_results(worker):
                self._finish(result)
            worker.connection.close()
        self._workers.clear()


def _unread_results(worker: _Worker) -> Iterator[EpisodeResult]:
    """Yield the results in the pipe of a worker that has exited."""
    with suppress(EOFError, OSError):
        while worker.connection.poll():
            message = worker.connection.recv()
            if isinstance(message, EpisodeResult):
                yield message


def _lost_episode(spec: EpisodeSpec, job: WorkerJob, status: Status, failure: str) -> EpisodeResult:
    """Return the result of an episode that made a worker exit or hang which ran nothing else."""
    at_end = None if job.terminate_on_success else False
    return EpisodeResult(
        episode_index=spec.episode_index,
        seed=spec.seed,
        instruction=spec.options.get("instruction") or "",
        target=spec.options.get("target"),
        status=status,
        success_once=False,
        success_held=at_end,
        success_at_end=at_end,
        steps=0,
        return_=0.0,
        stage="",
        failure=failure,
        digest="",
        task=spec.task,
        arm=spec.arm,
        perturbation=spec.perturbation,
    )
