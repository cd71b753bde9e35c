"""What a run leaves behind: one line for each finished episode and one record of the run.

An episode's line holds no path, time or process id: it is a function of policy, environment and seed alone.
Lines are appended while a run goes on and rewritten in order, atomically, when it is complete.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from simscaleai.errors import SimScaleError

EPISODES_FILE = "episodes.jsonl"
RECORD_FILE = "run.json"

SCHEMA_VERSION = 1
"""Version of the run folder; changes when a key changes its meaning."""

HELD_STEPS = 10
"""Consecutive control steps of success after which an episode counts as *held*."""

POLICY_EXCEPTION = "policy_exception"
"""Failure class: the policy raised, also when it ran with no other episode beside it."""

INVALID_ACTION = "invalid_action"
"""Failure class, as the environment says it: an action that was not finite."""

ENVIRONMENT_EXCEPTION = "environment_exception"
"""Error class: the simulation raised, also when the episode ran with no other beside it."""

WORKER_DIED = "worker_died"
"""Error class: the process that ran the episode died twice, the second time with no other episode in it."""

PLACED_THEN_KNOCKED = "placed_then_knocked"
"""Failure class: the task was solved at some step, but no longer at the last one."""

Status = Literal["success", "failure", "error"]


class ResultsError(SimScaleError):
    """A run folder that cannot be read."""


_NOT_OURS = (TypeError, ValueError, RecursionError)
"""What reading JSON data raises that nobody here has written."""


@dataclass(frozen=True, kw_only=True)
class EpisodeResult:
    """How one planned episode went."""

    episode_index: int
    seed: int
    instruction: str
    target: str | None
    status: Status
    """`success` if the task's predicate held at the last step, `failure` if not and it is the policy's doing,
    `error` if the episode could not be run."""
    success_once: bool
    """Whether the predicate held at any step."""
    success_held: bool | None
    """Whether it held for `HELD_STEPS` consecutive steps; None when success ends the episode."""
    success_at_end: bool | None
    """Whether it held at the last step; None when success ends the episode."""
    steps: int
    """Control steps taken."""
    return_: float
    """Undiscounted sum of rewards (`return` in the file)."""
    stage: str
    """Where in the task the episode ended."""
    failure: str | None
    """Class of the failure or error; None for a success."""
    digest: str
    """SHA-256 of executed actions (float32) and qpos, qvel (float64) after every control step."""

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain JSON data, in the order of the fields."""
        return {name.rstrip("_"): value for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EpisodeResult:
        """Rebuild a result from `to_json`.

        Raises:
            ResultsError: If keys are missing or unknown, or what tells episodes apart is senseless.
        """
        values = dict(data)
        if "return" in values:
            values["return_"] = values.pop("return")
        differing = values.keys() ^ cls.__dataclass_fields__.keys()
        if differing:
            raise ResultsError(f"an episode's line has missing or unknown keys: {', '.join(sorted(differing))}")
        result = cls(**values)
        if result.status not in get_args(Status) or not all(
            isinstance(count, int) for count in (result.episode_index, result.seed, result.steps)
        ):
            raise ResultsError("an episode's status, index, seed or number of steps is none")
        return result


def append_result(path: Path, result: EpisodeResult) -> None:
    """Append `result` to `path` in one flushed line, so that a killed run keeps every finished episode.

    Raises:
        ResultsError: If it cannot be written, for example on a full disk.
    """
    with _told_where(path), path.open("a", encoding="utf-8") as file:
        file.write(_line(result))


def write_results(path: Path, results: Iterable[EpisodeResult]) -> None:
    """Write `results` to `path`, sorted by episode, atomically."""
    ordered = sorted(results, key=lambda result: result.episode_index)
    write_atomically(path, "".join(map(_line, ordered)))


def read_results(path: Path) -> list[EpisodeResult]:
    """Read the finished episodes in `path`, sorted by episode.

    A last line without its newline is what a killed run leaves: that episode counts as not finished.

    Raises:
        ResultsError: If any other line cannot be read.
    """
    lines = path.read_bytes().split(b"\n")[:-1]
    results = [_parse(line, path, number) for number, line in enumerate(lines, start=1)]
    return sorted(results, key=lambda result: result.episode_index)


def write_atomically(path: Path, text: str) -> None:
    """Write `text` to `path` so that a reader sees the old file or the whole new one.

    Raises:
        ResultsError: If it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.partial")
    with _told_where(path):
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)


@contextmanager
def _told_where(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ResultsError(
            f"cannot write {path}: {error.strerror}; what has ended before is kept, mend this and add --resume"
        ) from error


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Everything needed to believe, repeat or compare a run, besides its episodes."""

    schema_version: int = SCHEMA_VERSION
    config: Mapping[str, Any]
    """The configuration as passed."""
    resolved: Mapping[str, Any]
    """What it came to: full environment id, slots, episodes."""
    source: Mapping[str, Any] | None
    """Git commit and whether the tree differed from it; None outside a checkout."""
    fingerprint: Mapping[str, Any]
    """What results are bit-identical on: CPU instruction set, library versions, GL renderer."""
    checkpoint_digest: str | None
    """SHA-256 of the checkpoint; None for policies without one."""
    contract: Mapping[str, Any]
    """The policy's contract."""
    timing: Mapping[str, Any]
    """Start in UTC, seconds, episodes and control steps per second."""
    receipts: Sequence[Mapping[str, Any]] = field(default_factory=list)
    """What the policy was given at the first step of the first episodes; see `eval.receipt.Receipt`."""
    seed_overlap: Mapping[str, Any] | None = None
    """Seeds of the run that the checkpoint records as trained on, and its record; None if there are none."""
    sequential: Mapping[str, Any] | None = None
    """Of a run that ends when it has seen enough: its rule and how far it came; see `eval.sequential`. None if the
    number of episodes was fixed beforehand."""
    summary: Mapping[str, Any] | None = None
    """Counts and intervals; None until the run ends."""

    def write(self, folder: Path) -> Path:
        """Write `run.json` into `folder` atomically and return its path."""
        path = folder / RECORD_FILE
        write_atomically(path, json.dumps(vars(self), indent=2, ensure_ascii=False) + "\n")
        return path

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Read the record in `folder`.

        Raises:
            ResultsError: If there is none, it cannot be read, or another version wrote it.
        """
        path = folder / RECORD_FILE
        if not path.exists():
            raise ResultsError(f"expected a run folder with {RECORD_FILE}, got {folder}; run `eval.rollout --output`")
        try:
            data = dict(json.loads(path.read_text(encoding="utf-8")))
            if data.get("schema_version") == SCHEMA_VERSION:
                return cls(**data)
        except _NOT_OURS as error:
            raise ResultsError(f"{path} is no record of a run ({error}); restore it or run it again") from error
        raise ResultsError(
            f"{path} has schema version {data.get('schema_version')}, expected {SCHEMA_VERSION}; "
            "read it with the version that wrote it"
        )


def _line(result: EpisodeResult) -> str:
    return json.dumps(result.to_json(), ensure_ascii=False) + "\n"


def _parse(line: bytes, path: Path, number: int) -> EpisodeResult:
    try:
        return EpisodeResult.from_json(json.loads(line))
    except _NOT_OURS as error:
        raise ResultsError(f"{path}, line {number}, is no episode ({error}); restore or remove it") from error
