"""A run that was read from its folder: record, episodes, and values derived from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from eval.episodes.plan import WHOLE, EpisodeSpec, plan_text
from eval.episodes.results import EpisodeResult
from eval.runs.record import RunRecord
from simscaleai.contract import EnvSpec


@dataclass(frozen=True)
class EpisodeConditions:
    """Conditions of an episode, apart from its seed, that define what a success means.

    Success rates under different conditions cannot be compared.
    """

    environment: str
    """Full id of the environment."""
    digest: str
    """Digest of the scene and the rules of the environment, `EnvSpec.digest`."""
    terminates_on_success: bool
    """Whether an episode ends at its first success. If so, a success that would not have lasted counts."""
    max_episode_steps: int
    """Time limit in control steps."""

    @classmethod
    def of(cls, environment: EnvSpec, *, terminates_on_success: bool) -> EpisodeConditions:
        """Return the conditions of episodes in `environment`."""
        return cls(
            environment.env_id,
            environment.digest,
            terminates_on_success,
            max_episode_steps=environment.max_episode_steps,
        )

    def differences(self, b: EpisodeConditions) -> Iterator[str]:
        """Yield one line for each condition that differs between run A (`self`) and run B (`b`)."""
        names = {
            "environment": "environment",
            "digest": "environment digest",
            "terminates_on_success": "success ends the episode",
            "max_episode_steps": "max episode steps",
        }
        for attribute, name in names.items():
            of_a, of_b = getattr(self, attribute), getattr(b, attribute)
            if of_a != of_b:
                yield f"{name}: A has {of_a}, B has {of_b}"


@dataclass(frozen=True)
class Run:
    """A run folder that was read."""

    folder: Path
    record: RunRecord
    results: tuple[EpisodeResult, ...]
    """Episodes that have ended, sorted by `episode_index`, each at most once."""

    @property
    def conditions(self) -> EpisodeConditions:
        """Conditions of the episodes of the run."""
        record = self.record
        return EpisodeConditions.of(record.environment, terminates_on_success=record.settings.terminate_on_success)

    @property
    def interventions(self) -> tuple[str, ...]:
        """Interventions on the inputs of the policy, each `kind=value`."""
        return self.record.settings.intervene

    @property
    def interventions_text(self) -> str:
        """Meanings of the interventions in words; "" without interventions."""
        return "; ".join(self.record.interventions.get(text, text) for text in self.interventions)

    @property
    def perturbations(self) -> tuple[str, ...]:
        """Perturbations of every episode, each `AXIS=VALUE`."""
        return tuple(self.record.perturbations)

    @property
    def perturbations_text(self) -> str:
        """Axes and magnitudes of the perturbations in words; "" without perturbations."""
        return "; ".join(self.record.perturbations.values())

    @property
    def planned(self) -> int:
        """Number of planned episodes, of a shard its own; if a stopping rule ended the run, of those that count."""
        sequential = self.record.sequential
        if sequential and sequential.decided:
            return sequential.episodes
        return (self.record.shard or WHOLE).size(self.record.resolved.episodes)

    @property
    def is_complete(self) -> bool:
        """Whether all planned episodes have ended and the record has its summary."""
        return bool(self.results) and len(self.results) == self.planned and self.record.summary is not None

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds in the order of the plan."""
        return tuple(result.seed for result in self.results)

    @property
    def starts(self) -> tuple[tuple[str, int], ...]:
        """Task ("" outside a suite) and seed of each episode, in the order of the plan."""
        return tuple(result.start for result in self.results)

    @property
    def successes(self) -> int:
        """Number of successful episodes."""
        return sum(result.status == "success" for result in self.results)

    @property
    def success_by_seed(self) -> dict[int, bool]:
        """Seed to whether the episode was a success, for a run of a single task."""
        return {result.seed: result.status == "success" for result in self.results}

    @property
    def seeds_text(self) -> str:
        """Number of episodes and their seeds, in a few words; "no episode" if there are none."""
        return seeds_text(self.results)


def seeds_text(results: Iterable[EpisodeResult]) -> str:
    """Return the number of episodes in `results` and their seeds, in a few words."""
    specs = [EpisodeSpec(result.episode_index, result.seed, task=result.task) for result in results]
    return plan_text(specs) if specs else "no episode"
