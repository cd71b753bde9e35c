"""Compares two runs of the same episodes: whether they can be compared at all, and what follows from the pairs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from eval.command import plan_text
from eval.paired import PairedCounts, mcnemar_exact, newcombe
from eval.plan import EpisodeSpec
from eval.power import pairs_needed, smallest_difference
from eval.results import EPISODES_FILE, RECORD_FILE, EpisodeResult, ResultsError, RunRecord, read_results
from eval.statistics import LEVEL, Interval, wilson
from simscaleai.errors import SimScaleError


class NotComparableError(SimScaleError):
    """Two runs whose success rates mean different things."""

    def __init__(self, differences: list[str]) -> None:
        super().__init__("; ".join(differences))
        self.differences = differences
        """What differs, one line each."""


class Verdict(Enum):
    """What a comparison found about B."""

    BETTER = "better"
    NON_INFERIOR = "within the margin"
    WORSE = "worse"
    UNDECIDED = "cannot tell"


@dataclass(frozen=True)
class Run:
    """A run folder, read."""

    folder: Path
    record: RunRecord
    results: tuple[EpisodeResult, ...]
    """Episodes that ended, sorted."""

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read the run in `folder`.

        Raises:
            ResultsError: If it holds no run, or one that cannot be read.
        """
        try:
            record = RunRecord.read(folder)
        except (json.JSONDecodeError, TypeError) as error:
            raise ResultsError(f"{folder / RECORD_FILE} is no record of a run ({error}); run it again") from error
        episodes = folder / EPISODES_FILE
        return cls(folder, record, tuple(read_results(episodes)) if episodes.exists() else ())

    @property
    def environment(self) -> str | None:
        """Full id of the environment."""
        return self.record.resolved.get("environment")

    @property
    def scene(self) -> str | None:
        """Digest of the environment's scene."""
        scenes: Mapping[str | None, str] = self.record.contract.get("environments", {})
        return scenes.get(self.environment)

    @property
    def terminates_on_success(self) -> bool | None:
        """Whether an episode ends at its first success, and so counts one that it would have lost again."""
        return self.record.config.get("terminate_on_success")

    @property
    def planned(self) -> int | None:
        """Number of episodes that the run was to have."""
        return self.record.resolved.get("episodes")

    @property
    def errors(self) -> int:
        """Episodes that could not be run; they count as no success."""
        return sum(result.status == "error" for result in self.results)

    @property
    def seeds_text(self) -> str:
        """The number of episodes and their seeds, in a few words."""
        return plan_text([EpisodeSpec(result.episode_index, result.seed) for result in self.results])


@dataclass(frozen=True)
class Pair:
    """What A and B made of the same episode."""

    a: EpisodeResult
    b: EpisodeResult


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What two runs of the same episodes say about their policies. Differences are B less A."""

    a: Run
    b: Run
    counts: PairedCounts
    interval: Interval
    """Newcombe's paired interval of the difference."""
    p_value: float
    """Exact McNemar test, two-sided."""
    smallest_difference: float | None
    """What so many pairs see with 80 % power, given how often A and B differed; None if they are too few for any."""
    margin: float | None
    """How much worse B may be; None for not at all."""
    discordant: tuple[Pair, ...]
    """Episodes in which exactly one succeeded."""
    warnings: tuple[str, ...]
    """What may explain a difference besides the policies."""

    @property
    def verdict(self) -> Verdict:
        """What this says about B.

        Better and worse need the exact test, which errs in at most 5 % of comparisons of equals. Within the margin is
        B if the whole interval of the difference is, also if it is worse by less than that; of policies that are
        worse by just the margin, this lets about 2.5 % pass.
        """
        decided = self.p_value <= 1 - LEVEL
        if decided and self.counts.difference > 0:
            return Verdict.BETTER
        if self.margin is not None and self.interval.low > -self.margin:
            return Verdict.NON_INFERIOR
        return Verdict.WORSE if decided else Verdict.UNDECIDED

    @property
    def rates(self) -> tuple[Interval, Interval]:
        """Wilson intervals of the success rates of A and B."""
        counts = self.counts
        return wilson(counts.successes_a, counts.n), wilson(counts.successes_b, counts.n)

    @property
    def pairs_to_decide(self) -> int | None:
        """How many pairs would see a difference like the observed one; None if none or too many would."""
        counts = self.counts
        return pairs_needed(abs(counts.difference), counts.discordant / counts.n) if counts.difference else None


def compare(a: Run, b: Run, margin: float | None = None) -> Comparison:
    """Compare two runs of the same episodes.

    Args:
        a: What is compared with.
        b: What is judged.
        margin: How much lower B's success probability may be, in (0, 1).

    Raises:
        NotComparableError: If the runs are not of the same episodes, or not complete.
    """
    differences = list(_differences(a, b))
    if differences:
        raise NotComparableError(differences)
    b_by_seed = {result.seed: result for result in b.results}
    pairs = [Pair(result, b_by_seed[result.seed]) for result in a.results]
    counts = count_pairs(pairs)
    return Comparison(
        a=a,
        b=b,
        counts=counts,
        interval=newcombe(counts),
        p_value=mcnemar_exact(counts.only_a, counts.only_b),
        smallest_difference=smallest_difference(counts.n, counts.discordant / counts.n),
        margin=margin,
        discordant=tuple(pair for pair in pairs if _succeeded(pair.a) != _succeeded(pair.b)),
        warnings=tuple(_fingerprint_warnings(a.record.fingerprint, b.record.fingerprint)),
    )


def count_pairs(pairs: list[Pair]) -> PairedCounts:
    """Count how many pairs ended how."""
    outcomes = [(_succeeded(pair.a), _succeeded(pair.b)) for pair in pairs]
    return PairedCounts(
        *(outcomes.count(kind) for kind in ((True, True), (True, False), (False, True), (False, False)))
    )


def _succeeded(result: EpisodeResult) -> bool:
    return result.status == "success"


def _differences(a: Run, b: Run) -> Iterator[str]:
    """Yield a line for everything because of which the runs cannot be compared."""
    sides = {
        "environment": (a.environment, b.environment),
        "scene digest": (a.scene, b.scene),
        "ends at success": (a.terminates_on_success, b.terminates_on_success),
        "max episode steps": (a.record.contract.get("max_episode_steps"), b.record.contract.get("max_episode_steps")),
    }
    for name, (of_a, of_b) in sides.items():
        if of_a != of_b:
            yield f"{name}: A has {of_a}, B has {of_b}"
    yield from _incomplete("A", a)
    yield from _incomplete("B", b)
    if a.results and b.results:
        yield from _other_episodes(a, b)


def _incomplete(name: str, run: Run) -> Iterator[str]:
    if len(run.results) != run.planned or run.record.summary is None:
        yield f"complete: {name} ({run.folder}) has {len(run.results)} of {run.planned} episodes; finish it first"


def _other_episodes(a: Run, b: Run) -> Iterator[str]:
    of_a = {result.seed: result.target for result in a.results}
    of_b = {result.seed: result.target for result in b.results}
    common = of_a.keys() & of_b.keys()
    if not len(common) == len(of_a) == len(of_b):
        yield f"seeds: A has {a.seeds_text}; B has {b.seeds_text}; {len(common)} in common"
    other = sorted(seed for seed in common if of_a[seed] != of_b[seed])
    if other:
        seed = other[0]
        yield f"target: A has {of_a[seed]} with seed {seed}, B has {of_b[seed]}; {len(other)} seeds differ"


def _fingerprint_warnings(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key in sorted(a.keys() | b.keys()):
        of_a, of_b = a.get(key), b.get(key)
        if isinstance(of_a, Mapping) and isinstance(of_b, Mapping):
            yield from _fingerprint_warnings(of_a, of_b, f"{prefix}{key}.")
        elif of_a != of_b and not (key == "gl_renderer" and None in (of_a, of_b)):  # None: a policy without eyes
            yield f"fingerprint {prefix}{key} differs: A has {of_a}, B has {of_b}; episodes may differ by that alone"
