"""Runs a plan in several worker processes: each episode once. The parent gets each result as soon as its episode ends.

Every worker has its own interpreter, GL context and simulation, on one thread each. A worker asks for an episode
whenever a slot is free, so no worker waits for another. An episode is a function of policy, environment and start, so
it does not matter which worker runs it.

A worker that exits or hangs loses the episodes that it was running. Any of these episodes may be the cause, so each
runs again alone in a worker of its own. If that fails, too, the episode ends: as an error, or as a failure of the
policy if the policy did not answer.

If one process computes the policy for all workers, the parent starts it, too, and starts another one if it exits or
hangs. The calls that it was computing are computed again.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, MutableSequence, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.sharedctypes import RawArray
from typing import Any

from eval.episodes.faults import logged
from eval.episodes.observer import Observer
from eval.episodes.plan import EpisodeSpec
from eval.episodes.pulse import NOBODY, PARTY_NAMES, POLICY, Pulse
from eval.episodes.results import ENVIRONMENT_TIMEOUT, POLICY_TIMEOUT, WORKER_DIED, EpisodeResult, Status
from eval.execution.watchdog import LATER, WARN_SECONDS
from eval.execution.worker import Breakdown, WorkerJob, work
from policies.learned.process.supervisor import InferenceProcess
from simscaleai.errors import SimScaleError
from simscaleai.hosting.process import ONE_THREAD_EACH

MAX_FALSE_STARTS = 3
"""Number of workers in a row that exit before they ask for an episode, after which the set-up is considered wrong."""

logger = logging.getLogger(__name__)

_SPARE_SEATS = 2  # for workers that begin while calls of dead ones are still computed
_SECONDS_TO_EXIT = 5.0
_SECONDS_BETWEEN_CHECKS = 1.0
_SLOT_ELSEWHERE = -1
_CONTEXT = multiprocessing.get_context("spawn")


def run_in_workers(
    job: WorkerJob,
    plan: Sequence[EpisodeSpec],
    workers: int,
    observers: Sequence[Observer],
    further: Connection | None = None,
) -> list[EpisodeResult]:
    """Run each episode of `plan` once in `workers` processes and return the results sorted by episode.

    The workers are stopped as soon as an observer has seen enough.

    Args:
        job: What the workers run; `job.num_envs` slots in each.
        plan: Episodes with distinct indices.
        workers: Number of processes.
        observers: They get each result and the end of the run, but no slots and steps, which are in other processes.
            After one of them has seen enough, they still get the results that workers had sent before.
        further: Pipe from which episodes come that follow those of `plan`, then None; None if there are no others.

    Raises:
        SimScaleError: If a worker finds the set-up wrong, or none can be started.
        KeyboardInterrupt: If interrupted, after every result that was sent has reached the observers.
    """
    size = workers if further else min(workers, len(plan))
    return _Pool(job, plan, size, observers, further).run()


class _Worker:
    """A worker process, with what the parent knows about it."""

    def __init__(self, job: WorkerJob, inference: InferenceProcess | None, *, solitary: bool) -> None:
        """Start a process; a `solitary` one has a single slot. With `inference`, that process computes its policy."""
        self.solitary = solitary
        self.seat = inference.take_seat(alone=solitary) if inference else -1
        """Place of the worker at `inference`."""
        self.specs: dict[int, EpisodeSpec] = {}
        """Unfinished episodes of the worker, by index."""
        self.has_begun = False
        """Whether the worker has asked for an episode."""
        self._warn_after = WARN_SECONDS
        cells: MutableSequence[float] = RawArray("d", 2)
        self.pulse = Pulse(cells)
        self.connection, theirs = _CONTEXT.Pipe()
        remote = inference.policy_at(self.seat) if inference else None
        job = replace(job, remote=remote, num_envs=1 if solitary else job.num_envs)
        self.process = _CONTEXT.Process(target=work, args=(theirs, job, cells), daemon=True)
        self.process.start()
        theirs.close()

    def warn_if_silent(self) -> None:
        """Log that the policy or the environment has not answered for a long time."""
        if party := self.pulse.overdue(self._warn_after):
            text = "the %s has not answered for %g s; episodes %s wait"
            logger.warning(text, PARTY_NAMES[party], self._warn_after, ", ".join(map(str, self.specs)))
            self._warn_after *= LATER

    def stop(self) -> None:
        """End the process, by force if necessary."""
        self.process.terminate()
        self.process.join(_SECONDS_TO_EXIT)
        self.process.kill()
        self.process.join()


@contextmanager
def inherited_by_workers() -> Iterator[None]:
    """Start processes within this block with one thread for each library, and with Ctrl-C left to the parent."""
    resource_tracker.ensure_running()  # otherwise it starts with the first process, and unblocks the signal
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    before = {name: os.environ.get(name) for name in ONE_THREAD_EACH}
    os.environ.update(ONE_THREAD_EACH)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def ending_run(stop_workers: Callable[[], None], observers: Sequence[Observer]) -> Iterator[None]:
    """Stop the workers and close the observers at the end of the block, also after an exception."""
    try:
        yield
    finally:
        with logged("stopping the workers"):
            stop_workers()
        for observer in observers:
            with logged("closing an observer"):
                observer.close()


def in_plan_order(results: Sequence[EpisodeResult], observers: Sequence[Observer]) -> list[EpisodeResult]:
    """Return the results of a run in the order of its plan, after every observer got them."""
    ordered = sorted(results, key=lambda result: result.episode_index)
    for observer in observers:
        observer.on_run_end(ordered)
    return ordered


class _Pool:
    """The workers of one run, and the episodes that have not ended."""

    def __init__(
        self,
        job: WorkerJob,
        plan: Sequence[EpisodeSpec],
        size: int,
        observers: Sequence[Observer],
        further: Connection | None,
    ) -> None:
        self._job, self._size, self._observers = job, size, observers
        self._planned = len(plan)
        self._further = further
        """Where more episodes come from; None if there are no more."""
        self._idle: list[_Worker] = []
        """Workers that have asked for an episode when none waited."""
        self._waiting = deque(plan)
        self._suspects: deque[EpisodeSpec] = deque()
        """Episodes that were running when a worker exited or hung. They run one at a time in solitary workers."""
        self._workers: dict[Any, _Worker] = {}
        self._results: list[EpisodeResult] = []
        self._false_starts = 0
        self._inference = _inference_process(job, size)

    def run(self) -> list[EpisodeResult]:
        with _running(self._inference):
            return self._run()

    def _run(self) -> list[EpisodeResult]:
        with ending_run(self._stop_workers, self._observers):
            while self._is_unfinished():
                self._start_workers()
                self._receive_all()
                self._end_hanging_workers()
            self._stop_workers()  # first, because no result may reach an observer after the end of the run
            return in_plan_order(self._results, self._observers)

    def _is_unfinished(self) -> bool:
        enough = any(observer.has_seen_enough for observer in self._observers)
        return (len(self._results) < self._planned or self._further is not None) and not enough

    def _start_workers(self) -> None:
        """Start workers until there are enough, or no episode waits."""
        while len(self._workers) < self._size:
            solitary = len(self._suspects) > sum(worker.solitary for worker in self._workers.values())
            if not (solitary or self._waiting):
                break
            with inherited_by_workers():  # an interrupt waits until the worker is in the list
                worker = _Worker(self._job, self._inference, solitary=solitary)
                self._workers[worker.connection] = worker
        if not self._workers and not self._further:  # without workers, the run would wait for ever
            raise RuntimeError(f"{self._planned - len(self._results)} episodes were lost; this is a bug")

    def _receive_all(self) -> None:
        """Handle the messages and exits of the workers and of the inference process."""
        others = [self._inference.connection] if self._inference else []
        others += [self._further] if self._further else []
        for connection in wait([*self._workers, *others], timeout=_SECONDS_BETWEEN_CHECKS):
            if connection in self._workers:
                self._receive(self._workers[connection])
            elif connection is self._further:
                self._receive_episode(self._further)
            elif self._inference:
                with inherited_by_workers():
                    self._inference.receive()

    def _receive_episode(self, further: Connection) -> None:
        """Add an episode to the plan, or note that it is complete."""
        spec = further.recv()
        if spec is None:
            self._further = None
        else:
            self._planned += 1
            self._waiting.append(spec)
        idle, self._idle = self._idle, []
        for worker in idle:
            with suppress(OSError):  # its exit is handled as that of any other
                self._give_episode(worker)

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
        if not (queue or worker.solitary) and self._further:
            self._idle.append(worker)
            return
        spec = queue.popleft() if queue else None
        if spec is not None:
            worker.specs[spec.episode_index] = spec
        worker.connection.send(spec)

    def _end_hanging_workers(self) -> None:
        for worker in list(self._workers.values()):
            worker.warn_if_silent()
            party = worker.pulse.overdue(self._job.timeout)
            if party == NOBODY or (party == POLICY and self._inference_is_suspected(worker, self._inference)):
                continue
            worker.process.kill()
            for result in _unread_results(worker):
                del worker.specs[result.episode_index]
                self._finish(result)
            if party == POLICY:
                self._remove(worker, "failure", POLICY_TIMEOUT)
            else:
                self._remove(worker, "error", ENVIRONMENT_TIMEOUT)

    def _inference_is_suspected(self, worker: _Worker, inference: InferenceProcess | None) -> bool:
        """Return whether the reason that the policy of `worker` does not answer may be the call of another worker.

        Another inference process then computes all calls again. It runs the suspected calls alone.
        """
        if inference is None:
            return False
        if not inference.is_ready:  # loading the policy takes as long as it takes
            worker.pulse.restart()
            return True
        is_suspected = not inference.blames(worker.seat)
        if not is_suspected:  # a living worker would read that its call is refused, which is another failure
            worker.process.kill()
            worker.process.join(_SECONDS_TO_EXIT)
        with inherited_by_workers():
            inference.restart()
        for other in self._workers.values() if is_suspected else ():
            other.pulse.restart()
        return is_suspected

    def _finish(self, result: EpisodeResult) -> None:
        self._results.append(result)
        for observer in self._observers:
            observer.on_episode_end(_SLOT_ELSEWHERE, result)

    def _remove(self, worker: _Worker, status: Status, failure: str) -> None:
        """Remove a worker that has exited. Its episodes run again; that of a solitary worker ends with `status`."""
        worker.process.join(_SECONDS_TO_EXIT)
        worker.stop()
        del self._workers[worker.connection]
        self._idle = [each for each in self._idle if each is not worker]
        worker.connection.close()
        if self._inference:
            self._inference.leave_seat(worker.seat)
        if not worker.has_begun:
            self._count_false_start(worker)
        code = worker.process.exitcode
        for spec in worker.specs.values():
            logger.warning(
                "worker exited (%s, exit code %s) in episode %d, seed %d", failure, code, spec.episode_index, spec.seed
            )
            if worker.solitary:
                self._finish(lost_episode(spec, self._job, status, failure))
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


def _inference_process(job: WorkerJob, workers: int) -> InferenceProcess | None:
    """Return the process that computes the policy for all workers, not started; None if each computes its own."""
    if job.outline is None:
        return None
    return InferenceProcess(_CONTEXT, job.build_model, job.outline, rows=job.num_envs, seats=workers + _SPARE_SEATS)


@contextmanager
def _running(inference: InferenceProcess | None) -> Iterator[None]:
    """Start `inference`, and end it at the end of the block."""
    if inference is None:
        yield
        return
    with inherited_by_workers():
        inference.start()
    try:
        yield
    finally:
        with logged("stopping the inference process"):
            inference.stop()


def _unread_results(worker: _Worker) -> Iterator[EpisodeResult]:
    """Yield the results in the pipe of a worker that has exited."""
    with suppress(EOFError, OSError):
        while worker.connection.poll():
            message = worker.connection.recv()
            if isinstance(message, EpisodeResult):
                yield message


def lost_episode(spec: EpisodeSpec, job: WorkerJob, status: Status, failure: str) -> EpisodeResult:
    """Return the result of an episode whose solitary worker exited or hung."""
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
