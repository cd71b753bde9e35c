"""Runs a plan in workers on a Ray cluster: each episode counts once. The driver alone writes the record.

Ray decides where workers run and notices that one is lost. Workers wait until the cluster has a free CPU for each, so
machines may join and leave while a run goes on. The episodes of a lost worker run again in another one. An episode that
loses two workers runs again alone, and if that worker is lost, too, the episode ends as an error. An episode that
hangs runs alone at once.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from eval.episodes.observer import Observer
from eval.episodes.plan import EpisodeSpec
from eval.episodes.pulse import POLICY
from eval.episodes.results import ENVIRONMENT_TIMEOUT, POLICY_TIMEOUT, WORKER_DIED, EpisodeResult, Status
from eval.execution.cluster.places import Place, places_anywhere, places_on_machines
from eval.execution.cluster.remote_worker import Finished, Hang, News, RemoteWorker
from eval.execution.processes import MAX_FALSE_STARTS, ending_run, in_plan_order, lost_episode, run_in_workers
from eval.execution.worker import Breakdown, Executor, PortableJob
from policies.foreign.openpi.announcement import API_KEY_VARIABLE
from simscaleai.errors import SimScaleError
from simscaleai.files import replace_file
from simscaleai.hosting.interpreters import HOME_VARIABLE, PYTHON_VARIABLE
from simscaleai.hosting.process import ONE_THREAD_EACH

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_CHECKS = 1.0
_SECONDS_WITHOUT_WORKER = 30.0  # after which a warning says what the run waits for
_SECONDS_TO_CLOSE = 5.0
_SECONDS_TO_CONNECT = 5.0
_SLOT_ELSEWHERE = -1
_VARIABLES = (PYTHON_VARIABLE, HOME_VARIABLE, API_KEY_VARIABLE, "PYTHONPATH", "MUJOCO_GL")
"""Environment variables of the command that workers get: interpreters of others, key of a policy server, renderer."""
_AHEAD = 8  # a worker has this fraction of its slots as further episodes, for the time until the driver answers


def run_on_ray(
    job: PortableJob, plan: Sequence[EpisodeSpec], workers: int, observers: Sequence[Observer]
) -> list[EpisodeResult]:
    """Run each episode of `plan` once on the Ray cluster and return the results sorted by episode.

    The cluster is that of the environment variable RAY_ADDRESS, or one that runs on this machine. If there is none, a
    cluster of this machine is started and ended with the run.

    Args:
        job: What the workers run; `job.num_envs` slots in each. Files of episodes are written to `job.folder`.
        plan: Episodes with distinct indices.
        workers: Largest number of CPUs: one for each worker, or for each process of a worker that has all of a machine.
        observers: As in `eval.execution.processes.run_in_workers`.

    Raises:
        SimScaleError: If ray is not installed, the cluster cannot be reached, or a worker finds the set-up wrong or its
            machine different.
        KeyboardInterrupt: If interrupted.
    """
    if not plan:
        workers = 0
    with connected(workers) as ray:
        return _Pool(ray, job, plan, min(workers, len(plan)), observers).run()


def import_ray() -> Any:
    """Return the library.

    Raises:
        SimScaleError: If it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # otherwise a new cluster reports to its developers
    try:
        import ray
    except ImportError as error:
        raise SimScaleError(f"--executor ray needs the package ray ({error}): pip install 'simscaleai[ray]'") from None
    return ray


def check_executor(executor: Executor) -> None:
    """Check that `executor` can be used.

    Raises:
        SimScaleError: If a library is not installed.
    """
    if executor == "ray":
        import_ray()


@contextmanager
def connected(workers: int) -> Iterator[Any]:
    """Yield the library, connected to a cluster, until the end of the block.

    Calls of `run_on_ray` within the block use this connection.

    Args:
        workers: Number of CPUs of a cluster that is started because there is none.

    Raises:
        SimScaleError: If ray is not installed, or the cluster cannot be reached.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    with _same_handlers():
        _connect(ray, workers)
    try:
        yield ray
    finally:
        ray.shutdown()


def _connect(ray: Any, workers: int) -> None:
    """Connect to the cluster of RAY_ADDRESS or of this machine, or start one with a CPU for each of `workers`."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address := os.environ.get("RAY_ADDRESS"):
        _check_reachable(address)
        ray.init(address=address, **quiet)
        return
    try:
        ray.init(address="auto", **quiet)
    except ConnectionError:
        ray.init(address="local", num_cpus=max(workers, 1), include_dashboard=False, **quiet)


def _check_reachable(address: str) -> None:
    """Check that something listens at `address`, because ray tries for minutes.

    Raises:
        SimScaleError: If nothing does, or the address is none.
    """
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()) or "/" in host:
        raise SimScaleError(f"expected RAY_ADDRESS=HOST:PORT, as `ray start --head` prints it, got {address!r}")
    try:
        socket.create_connection((host, int(port)), timeout=_SECONDS_TO_CONNECT).close()
    except (OSError, OverflowError) as error:
        raise SimScaleError(f"no Ray cluster at RAY_ADDRESS={address} ({error}); start one, or unset it") from None


@contextmanager
def _same_handlers() -> Iterator[None]:
    """Keep the handler of SIGTERM within this block, which ray replaces by one that raises `SystemExit`."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@dataclass(eq=False)
class _Worker:
    """An actor, with what the driver knows about it."""

    actor: Any
    place: Place
    room: int
    """Largest number of unfinished episodes."""
    solitary: bool
    specs: dict[int, EpisodeSpec] = field(default_factory=dict)
    """Unfinished episodes of the worker, by index."""
    has_arrived: bool = False
    """Whether the worker has a place in the cluster."""
    has_begun: bool = False
    """Whether the worker has finished an episode."""
    is_last: bool = False
    """Whether the worker knows that it gets no more episodes."""


class _Pool:
    """The workers of one run, and the episodes that have not ended."""

    def __init__(
        self, ray: Any, job: PortableJob, plan: Sequence[EpisodeSpec], size: int, observers: Sequence[Observer]
    ) -> None:
        self._ray, self._job, self._size, self._observers = ray, job, size, observers
        self._planned = len(plan)
        self._waiting = deque(plan)
        self._lost_before: set[int] = set()
        self._suspects: deque[EpisodeSpec] = deque()
        """Episodes that may have ended a worker. They run one at a time in solitary workers."""
        self._workers: dict[Any, _Worker] = {}
        """Call in progress to the worker that answers it."""
        self._results: list[EpisodeResult] = []
        self._false_starts = 0
        self._last_news = time.monotonic()
        self._variables = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
        options = {"max_concurrency": 2, "max_restarts": 0}
        self._actor_class = ray.remote(**options, runtime_env={"env_vars": ONE_THREAD_EACH})(RemoteWorker)

    def run(self) -> list[EpisodeResult]:
        with ending_run(self._stop_workers, self._observers):
            while self._is_unfinished():
                self._start_workers()
                self._receive_all()
            self._stop_workers()
            return in_plan_order(self._results, self._observers)

    def _is_unfinished(self) -> bool:
        enough = any(observer.has_seen_enough for observer in self._observers)
        return len(self._results) < self._planned and not enough

    def _start_workers(self) -> None:
        """Ask for workers until there are enough, or no episode waits."""
        for place in self._free_places():
            solitary = len(self._suspects) > sum(worker.solitary for worker in self._workers.values())
            if not (solitary or self._waiting):
                break
            self._start_worker(replace(place, cpus=1) if solitary else place, solitary=solitary)

    def _free_places(self) -> Iterator[Place]:
        """Return where further workers may run. If one process of a machine computes the policy, so does one worker."""
        cpus = self._size - sum(worker.place.cpus for worker in self._workers.values())
        if self._job.outline is None or cpus <= 0:
            return places_anywhere(cpus)
        return places_on_machines(self._ray, cpus, {worker.place.machine for worker in self._workers.values()})

    def _start_worker(self, place: Place, *, solitary: bool) -> None:
        job = replace(self._job, num_envs=1) if solitary else self._job
        actor_class = self._actor_class.options(**place.options(job.device))
        run_elsewhere = None if job.outline is None else partial(_run_in_processes, place.cpus)
        actor = actor_class.remote(job, run_elsewhere, self._variables)
        slots = place.cpus * job.num_envs
        room = 1 if solitary else slots + max(place.cpus, slots // _AHEAD)
        self._workers[actor.arrive.remote()] = _Worker(actor, place, room, solitary)

    def _receive_all(self) -> None:
        """Handle the answers and losses of workers."""
        answered, _ = self._ray.wait(list(self._workers), num_returns=1, timeout=_SECONDS_BETWEEN_CHECKS)
        for call in answered:
            self._last_news = time.monotonic()
            worker = self._workers.pop(call)
            try:
                news: list[News] = self._ray.get(call)
            except self._ray.exceptions.ActorUnschedulableError:  # its machine left the cluster before it began
                continue
            except self._ray.exceptions.RayError as error:
                self._replace(worker, "error", WORKER_DIED, str(error))
                continue
            worker.has_arrived = True
            self._workers[call] = worker  # so that it is ended if its news end the run
            self._handle(worker, news)
            del self._workers[call]
        if time.monotonic() - self._last_news > _SECONDS_WITHOUT_WORKER:
            self._warn_if_idle()

    def _warn_if_idle(self) -> None:
        if not any(worker.specs for worker in self._workers.values()):
            logger.warning("the Ray cluster has no free CPU; the run waits for one (`ray status` shows what it does)")
            self._last_news = time.monotonic()

    def _handle(self, worker: _Worker, news: Sequence[News]) -> None:
        for each in news:
            if isinstance(each, Breakdown):
                raise SimScaleError(each.text) if each.is_mistake else RuntimeError(f"in a worker:\n{each.text}")
            if isinstance(each, Hang):
                status: Status = "failure" if each.party == POLICY else "error"
                failure = POLICY_TIMEOUT if each.party == POLICY else ENVIRONMENT_TIMEOUT
                self._replace(worker, status, failure, failure)
                return
            worker.has_begun = True
            self._false_starts = 0
            del worker.specs[each.result.episode_index]
            self._finish(each)
        self._continue(worker)

    def _continue(self, worker: _Worker) -> None:
        """Give a worker that has answered more episodes; end it if there are none and it has finished its own."""
        new: list[EpisodeSpec | None] = []
        if not worker.is_last:
            queue = self._suspects if worker.solitary else self._waiting
            new += [queue.popleft() for _ in range(min(len(queue), worker.room - len(worker.specs)))]
            worker.specs |= {spec.episode_index: spec for spec in new if spec}
            worker.is_last = worker.solitary or not queue
            new += [None] * worker.is_last
        if not worker.specs:
            self._end([worker])
            return
        self._workers[worker.actor.exchange.remote(new)] = worker

    def _finish(self, finished: Finished) -> None:
        for name, content in finished.files.items():
            path = self._job.folder / Path(name)
            path.parent.mkdir(exist_ok=True)
            replace_file(path, content)
        self._results.append(finished.result)
        for observer in self._observers:
            observer.on_episode_end(_SLOT_ELSEWHERE, finished.result)

    def _replace(self, worker: _Worker, status: Status, failure: str, reason: str) -> None:
        """Run the episodes of a worker that is lost or hangs again. That of a solitary worker ends with `status`."""
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(worker.actor)
        if not worker.has_begun:
            self._count_false_start(reason)
        logger.warning("a worker was lost (%s) with unfinished episodes %s", failure, ", ".join(map(str, worker.specs)))
        for spec in reversed(worker.specs.values()):
            if worker.solitary:
                self._finish(Finished(lost_episode(spec, self._job, status, failure), {}))
            elif failure != WORKER_DIED or spec.episode_index in self._lost_before:
                self._suspects.appendleft(spec)
            else:
                self._lost_before.add(spec.episode_index)
                self._waiting.appendleft(spec)

    def _count_false_start(self, reason: str) -> None:
        self._false_starts += 1
        if self._false_starts == MAX_FALSE_STARTS:
            raise SimScaleError(
                f"{MAX_FALSE_STARTS} Ray workers in a row were lost before they finished an episode; the machines of "
                f"the cluster need the same simscaleai and libraries as this one. Ray says: {reason}"
            )

    def _stop_workers(self) -> None:
        self._end(list(self._workers.values()))
        self._workers.clear()

    def _end(self, workers: Sequence[_Worker]) -> None:
        closing = [worker.actor.close.remote() for worker in workers if worker.has_arrived]
        if closing:
            self._ray.wait(closing, num_returns=len(closing), timeout=_SECONDS_TO_CLOSE)
        for worker in workers:
            self._ray.kill(worker.actor)


def _run_in_processes(processes: int, job: PortableJob, further: Connection, reporter: Observer) -> None:
    """Run the episodes of a machine: in so many processes, beside one that computes the policy."""
    run_in_workers(job, [], processes, [reporter], further)
