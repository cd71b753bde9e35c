"""The record of a run, `run.json`: everything that is needed to check, repeat or compare the run, except its episodes.

The dataclasses here and in `eval.runs.schema` are the schema of the file: `RunRecord.read` checks every entry against
their annotations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from eval.episodes.battery import Battery
from eval.episodes.plan import Shard
from eval.episodes.results import ResultsError
from eval.runs.provenance import Source
from eval.runs.schema.conditions import PolicyRecord, Resolved, Settings
from eval.runs.schema.seeds import SeedOverlap
from eval.runs.schema.stopping import SequentialRecord
from eval.runs.versions import RECORD_FILE, SCHEMA_VERSION, converted_record
from eval.statistics.rates import LEVEL, Interval
from simscaleai.contract import EnvSpec
from simscaleai.errors import SimScaleError
from simscaleai.files import read_file, replace_file
from simscaleai.json_data import DAMAGE, finite, parse_json, plain, read_checked


@dataclass(frozen=True, kw_only=True)
class Timing:
    """When the run began and how fast it was. Times of a run that was resumed or merged are added up."""

    started: str | None = None
    """Start in UTC, ISO 8601."""
    seconds: float | None = None
    episodes_per_second: float | None = None
    steps_per_second: float | None = None


@dataclass(frozen=True, kw_only=True)
class MovedObjects:
    """Episodes in which an object was lifted. With a random choice among k objects, 1/k of them are right."""

    right: int
    """Episodes in which the target was lifted, alone or besides another object."""
    wrong: int
    """Episodes in which only other objects were lifted."""
    right_share_95: tuple[float, float]
    """95 % interval of the probability that the target is lifted, given that any object is lifted."""

    @property
    def n(self) -> int:
        """Episodes in which any object was lifted."""
        return self.right + self.wrong


@dataclass(frozen=True, kw_only=True)
class TaskFigures:
    """Figures of one task of a suite; see `Summary`."""

    episodes: int
    successes: int
    errors: int
    success_rate: float
    wilson_95: tuple[float, float]
    mean_steps: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Figures of one run."""

    planned: int
    """Number of planned episodes. If a stopping rule ended the run, the number of episodes that count."""
    episodes: int
    """Number of episodes that have ended."""
    successes: int
    """Episodes with the status `success`."""
    errors: int
    """Episodes with the status `error`. They count as not successful."""
    success_rate: float
    """Share of successes among the episodes that have ended; in a suite, the average over its tasks."""
    wilson_95: tuple[float, float] | None
    """95 % Wilson interval of the success probability; None if a stopping rule may end the run."""
    confidence_sequence_95: tuple[float, float] | None = None
    """95 % interval that is valid at every look; None if the number of episodes was fixed in advance."""
    at_least_95: float | None
    """Lower end of the exact (Clopper-Pearson) 95 % interval, for guarantees; None as for `wilson_95`."""
    rate_if_errors_succeeded: float
    """Success rate if every error had been a success, an upper bound of the rate without errors."""
    success_once: int
    """Episodes with a success at any step."""
    success_held: int | None
    """Episodes with `EpisodeResult.success_held`; None if a success ends the episode."""
    mean_steps: float
    """Mean number of control steps of an episode."""
    smallest_difference: float | None = None
    """Smallest difference that as many pairs of episodes of independent policies detect with 80 % power. None if there
    are too few pairs, or if a stopping rule may end the run."""
    failures: Mapping[str, int]
    """Failure or error class to the number of episodes, the most frequent first."""
    moved_object: MovedObjects | None = None
    """Which object was lifted; None if no object was."""
    tasks: Mapping[str, TaskFigures] = field(default_factory=dict)
    """Id of each task of a suite to its figures, in the order of the plan; empty for a single task."""
    stratified_95: tuple[float, float] | None = None
    """95 % interval of the average over the tasks, see `eval.statistics.stratified`; None for a single task."""

    @property
    def is_sequential(self) -> bool:
        """Whether a stopping rule may end the run, so that intervals must be valid at every look."""
        return self.wilson_95 is None

    @property
    def interval(self) -> Interval:
        """Interval of the success probability: `stratified_95`, `wilson_95` or `confidence_sequence_95`."""
        low, high = self.stratified_95 or self.wilson_95 or self.confidence_sequence_95 or (0.0, 1.0)
        return Interval(low, high, LEVEL)

    @property
    def method(self) -> str:
        """Name of the method of `interval`."""
        if self.stratified_95:
            return f"average of {len(self.tasks)} tasks, stratified"
        return "confidence sequence, valid under stopping" if self.is_sequential else "Wilson"

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain JSON data."""
        return dict(plain(asdict(self)))


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The record of one run."""

    schema_version: int = SCHEMA_VERSION
    """Version of the file that was read. `write` always writes the current version."""
    config: Mapping[str, Any]
    """The configuration of the command, as the user gave it."""
    resolved: Resolved
    """Values that follow from the configuration."""
    environment: EnvSpec
    """All that the environment offered."""
    policies: tuple[PolicyRecord, ...]
    """The policies, the evaluated one first."""
    source: Source | None = None
    """The project's checkout; None outside a checkout."""
    fingerprint: Mapping[str, Any]
    """CPU instruction set, library versions, GL renderer. Results are bit-identical if these are the same."""
    timing: Timing = Timing()
    """When the run began and how fast it was."""
    interventions: Mapping[str, str] = field(default_factory=dict)
    """Each of `config.intervene` with its meaning in words."""
    perturbations: Mapping[str, str] = field(default_factory=dict)
    """Each perturbation of every episode, as the user wrote it, with its axes and magnitudes in words."""
    seed_overlap: SeedOverlap | None = None
    """Seeds of the run, of all shards, that the checkpoint was trained on; None if none is known."""
    shard: Shard | None = None
    """Part of the run that the folder holds; None if it holds the whole run."""
    sequential: SequentialRecord | None = None
    """Stopping rule and number of episodes; None if the number of episodes was fixed in advance."""
    battery: Battery | None = None
    """Perturbations that the run tests; None if it is no robustness battery."""
    summary: Summary | None = None
    """Figures; None until the run ends."""

    def __post_init__(self) -> None:
        """Raise if there is no policy."""
        if not self.policies:
            raise SimScaleError("expected at least 1 entry in policies, got none")

    @property
    def policy(self) -> PolicyRecord:
        """The policy that was evaluated."""
        return self.policies[0]

    @property
    def policy_text(self) -> str:
        """The policy that was evaluated and its options, as the user named them."""
        return " ".join([self.policy.model, *self.settings.policy_option])

    @cached_property
    def settings(self) -> Settings:
        """The entries of `config` that comparisons and reports use."""
        names = Settings.__dataclass_fields__
        known = {name: value for name, value in self.config.items() if name in names}
        return read_checked(Settings, known, "config")

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON data of the current schema version."""
        environment = self.environment.to_json()
        environment["action"] |= {side: finite(environment["action"][side]) for side in ("low", "high")}
        policies = [vars(policy) | {"needs": policy.needs.to_json()} for policy in self.policies]
        values = {"schema_version": SCHEMA_VERSION, "environment": environment, "policies": policies}
        return dict(plain(asdict(self) | values))

    def write(self, folder: Path) -> Path:
        """Write the record into `folder` atomically and return its path.

        Raises:
            WriteError: If the file cannot be written.
        """
        path = folder / RECORD_FILE
        text = json.dumps(self.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        # Bytes of a path that are not UTF-8 are unpaired surrogates in Python, and escapes in JSON.
        replace_file(path, text.encode(errors="backslashreplace"))
        return path

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Read the record in `folder`, of the current or an older schema version.

        Raises:
            ResultsError: If there is no record, it is damaged, or a newer version wrote it.
        """
        data = _record_data(folder)
        version = data.get("schema_version")
        if version not in (1, SCHEMA_VERSION):
            raise ResultsError(
                f"{folder / RECORD_FILE} has schema version {version}, expected at most {SCHEMA_VERSION}; "
                "read it with the version that wrote it"
            )
        try:
            record = read_checked(cls, converted_record(data) if version == 1 else data)
            _ = record.settings  # raises if an entry is invalid
        except DAMAGE as error:
            raise ResultsError(f"{folder / RECORD_FILE}: {error}; restore it or run it again") from error
        return record


def _record_data(folder: Path) -> dict[str, Any]:
    """Return the JSON data of the record in `folder`, unchecked; raise `ResultsError` if there is none."""
    path = folder / RECORD_FILE
    if not path.exists():
        raise ResultsError(f"expected a run folder with {RECORD_FILE}, got {folder}; run `eval.rollout --output`")
    try:
        return dict(parse_json(read_file(path)))
    except DAMAGE as error:
        raise ResultsError(f"{path} is no record of a run ({error}); restore it or run it again") from error
