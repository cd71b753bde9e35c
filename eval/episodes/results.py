"""The result of an episode: status, steps, return, failure class, digest. It is one line of `episodes.jsonl`.

A result is a function of policy, environment and start alone: it holds no path, time or process id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_type_hints

from simscaleai.errors import SimScaleError
from simscaleai.json_data import is_of_type

HELD_STEPS = 10
"""Consecutive control steps of success after which an episode counts as *held*."""

POLICY_EXCEPTION = "policy_exception"
"""Failure class: the policy raised an exception, or its answer had the wrong type, shape or dtype."""

POLICY_TIMEOUT = "policy_timeout"
"""Failure class: the policy did not answer in time, not even when the episode ran alone."""

INVALID_ACTION = "invalid_action"
"""Failure class that environments report: an action was not finite."""

PLACED_THEN_KNOCKED = "placed_then_knocked"
"""Failure class: the task was solved at some step, but not at the last one."""

ENVIRONMENT_EXCEPTION = "environment_exception"
"""Error class: the simulator raised an exception, even when the episode ran alone."""

ENVIRONMENT_TIMEOUT = "environment_timeout"
"""Error class: the simulator did not answer in time, not even when the episode ran alone."""

POLICY_UNAVAILABLE = "policy_unavailable"
"""Error class: the policy was unavailable, for example because its server did not respond."""

WORKER_DIED = "worker_died"
"""Error class: the worker process exited, and so did a second one that ran only this episode."""

_LARGEST = 2**63 - 1
"""Largest number in a result. A file of unknown origin may hold one with which nothing can be computed."""

Status = Literal["success", "failure", "error"]

_OPTIONAL = ("task", "arm", "perturbation")
"""Keys that are left out if their value is None, so that lines without them keep their bytes."""


class ResultsError(SimScaleError):
    """Results that cannot be read or written."""


@dataclass(frozen=True, kw_only=True)
class EpisodeResult:
    """Result of one planned episode."""

    episode_index: int
    seed: int
    instruction: str
    target: str | None
    """Object to move; None if the task has no choice of objects."""
    status: Status
    """`success` if the success rule held at the last step, `error` if the simulator, a worker or a policy server
    failed, `failure` otherwise."""
    success_once: bool
    """Whether the success rule held at any step."""
    success_held: bool | None
    """Whether the success rule held for `HELD_STEPS` consecutive steps; None if a success ends the episode."""
    success_at_end: bool | None
    """Whether the success rule held at the last step; None if a success ends the episode."""
    steps: int
    """Control steps taken."""
    return_: float
    """Undiscounted sum of rewards (`return` in the file)."""
    stage: str
    """How far the episode came, in one word; "" if the environment does not report it."""
    failure: str | None
    """Class of the failure or error; None for a success."""
    digest: str
    """SHA-256 of the executed action (float32) and the state of the environment after every control step."""
    task: str | None = None
    """Id of the task within a suite; None outside a suite."""
    arm: str | None = None
    """Name of the experimental arm; None for the nominal one."""
    perturbation: Mapping[str, Any] | None = None
    """What the plan changed, with magnitudes; None if nothing was changed."""

    @property
    def start(self) -> tuple[str, int]:
        """Task, "" outside a suite, and seed. Two runs of the same plan have the same starts."""
        return self.task or "", self.seed

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain JSON data, in the order of the fields."""
        return {
            name.rstrip("_"): value for name, value in vars(self).items() if not (name in _OPTIONAL and value is None)
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EpisodeResult:
        """Rebuild a result from the output of `to_json`.

        Raises:
            ResultsError: If keys are missing or unknown, or a value has the wrong type or is out of range.
        """
        values = {"return_" if name == "return" else name: value for name, value in data.items()}
        required = cls.__dataclass_fields__.keys() - set(_OPTIONAL)
        wrong = (required - values.keys()) | (values.keys() - cls.__dataclass_fields__.keys())
        if wrong:
            raise ResultsError(f"an episode's line has missing or unknown keys: {', '.join(sorted(wrong)):.200}")
        for name, kind in _kinds().items():
            if name in values and not is_of_type(values[name], kind):
                raise ResultsError(f"{name.rstrip('_')} has an invalid value: {values[name]!r:.60}")
        result = cls(**values)
        for name in ("seed", "episode_index", "steps"):
            if not 0 <= getattr(result, name) <= _LARGEST:
                raise ResultsError(f"expected {name} of 0 to {_LARGEST}, got {getattr(result, name)}")
        return result


@cache
def _kinds() -> dict[str, Any]:
    """Return the type of each field of `EpisodeResult`."""
    return get_type_hints(EpisodeResult)
