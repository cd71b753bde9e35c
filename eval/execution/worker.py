"""A worker process: builds policy and environment, and runs the episodes that the parent sends.

A worker sends `None` through its pipe when a slot is free. The parent answers with an `EpisodeSpec`, or with `None` if
none is left. The worker sends an `EpisodeResult` for each finished episode. Two shared numbers tell the parent which
party the worker is waiting for (`Pulse`). Only the parent writes the record.
"""

from __future__ import annotations

import contextlib
import os
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Literal

from eval.episodes.observer import Observer
from eval.episodes.plan import EpisodeSpec, PlanError
from eval.episodes.pulse import Pulse
from eval.episodes.results import EpisodeResult
from eval.runs.provenance import fingerprint, source_digest
from policies.base import Policy
from policies.learned.devices import Device, device_entries
from policies.learned.rows import PolicyOutline
from simscaleai.errors import SimScaleError
from simscaleai.hosting.parent import exit_with_parent
from simscaleai.json_data import json_differences

if TYPE_CHECKING:
    from envs.registration import Registration
    from envs.slots import SlotEnv
    from policies.learned.adapter import PolicyAdapter

Executor = Literal["process", "ray"]
"""Where workers run: in processes of this machine, or on a Ray cluster."""

TIMEOUT_SECONDS = 600.0
"""Default time that policy or environment may take for one answer [s]. It is far above the delays of a busy machine."""


def check_shape(workers: int, num_envs: int | None, timeout: float) -> None:
    """Check the flags that say how episodes run.

    Raises:
        PlanError: If a number is out of range.
    """
    for flag, number in {"--workers": workers, "--num-envs": num_envs}.items():
        if number is not None and number < 1:
            raise PlanError(f"expected {flag} of at least 1, got {number}")
    if not timeout > 0:
        raise PlanError(f"expected a --timeout above 0 s, got {timeout}")


@dataclass(frozen=True, kw_only=True)
class WorkerJob(ABC):
    """Everything that a worker needs to run any episode of a plan."""

    num_envs: int
    """Number of slots of each worker."""
    terminate_on_success: bool
    home: Path = field(default_factory=Path.cwd)
    """Working directory of the user, from which relative paths start. A policy may change that of a process."""
    timeout: float = TIMEOUT_SECONDS
    """Time that policy or environment may take for one answer [s]."""
    device: Device | None = None
    """Where a learned policy computes; None for one core of each process."""
    outline: PolicyOutline | None = None
    """The policy that one process computes for all workers; None if each worker has a policy of its own."""
    remote: Callable[[], Policy] | None = None
    """In a worker, gives it the policy of `outline`; otherwise None."""

    def build_model(self) -> PolicyAdapter:
        """Build the policy of `outline` in the process that computes it."""
        raise NotImplementedError

    @abstractmethod
    def run(self, plan: Iterable[EpisodeSpec], reporter: Observer, pulse: Pulse) -> None:
        """Run the episodes of `plan`, taking one whenever a slot is free.

        An episode counts as soon as `reporter` gets its result. All files of the episode must be on disk by then, so
        `reporter` must be the last observer.
        """


@dataclass(frozen=True, kw_only=True)
class PortableJob(WorkerJob):
    """A job that workers on other machines can run, too."""

    folder: Path
    """Folder of the run; on another machine, a folder from which the files of an episode are sent."""
    machine: Mapping[str, Any] | None = None
    """What the machine of a worker must have in common with that of the driver, see `conditions`; None if both are the
    same machine."""

    @property
    @abstractmethod
    def registration(self) -> Registration:
        """The environment."""

    @abstractmethod
    def files_of(self, episode_index: int) -> list[Path]:
        """Return the paths of the files that an episode may have in the folder of the run."""

    def conditions(self, machine: Mapping[str, Any]) -> dict[str, Any]:
        """Return what all machines of a run must have in common, as plain JSON data; `machine` is a fingerprint."""
        entries = dict(machine)
        of_device = entries.pop("inference", None)
        return {
            "source": source_digest(),
            "environment": self.registration.offer().digest,
            "fingerprint": entries,
            "inference": of_device,
        }

    def check_machine(self, env: SlotEnv) -> None:
        """Check that this machine gives the same results as that of the driver; `check_device` compares the GPU.

        Raises:
            SimScaleError: If something differs that results depend on. The text names each difference.
        """
        if self.machine is not None:
            here = self.conditions(fingerprint(env.fingerprint()))
            self._check_same({**here, "inference": self.machine["inference"]})

    def check_device(self) -> None:
        """Check that a policy that is computed here has the device that it has on the machine of the driver.

        Raises:
            SimScaleError: If it has another one. The text names the difference.
        """
        if self.machine is not None:
            self._check_same({**self.machine, "inference": device_entries(self.device).get("inference")})

    def _check_same(self, here: Mapping[str, Any]) -> None:
        verbs = ("is", "on the machine of the command, here")
        if differing := json_differences(self.machine, here, verbs=verbs):
            raise SimScaleError("this machine could give other results: " + "; ".join(differing))


@dataclass(frozen=True)
class Breakdown:
    """Last message of a worker that cannot continue, for a reason that concerns more than one episode."""

    text: str
    is_mistake: bool
    """Whether `text` is one line about a user's mistake; otherwise it is a traceback."""


def work(connection: Connection, job: WorkerJob, cells: MutableSequence[float]) -> None:
    """Run episodes until the parent has no more. This is the entry point of a worker process.

    Args:
        connection: Pipe to the parent.
        job: What to run.
        cells: Two shared numbers for the worker's `Pulse`.
    """
    Thread(target=exit_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, ConnectionError):  # the parent has ended
        try:
            os.chdir(job.home)
            job.run(_requests(connection), _Reporter(connection), Pulse(cells))
        except SimScaleError as mistake:
            connection.send(Breakdown(str(mistake), is_mistake=True))
        except (EOFError, ConnectionError):
            raise
        except Exception:  # otherwise the parent would only see that the worker exited
            connection.send(Breakdown(traceback.format_exc(), is_mistake=False))


def _requests(connection: Connection) -> Iterator[EpisodeSpec]:
    """Yield the episodes that the parent sends. Each is requested when a slot is free."""
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
