"""`diagnose`, which compares a policy's actions with recorded ones and names what is wrong.

The tests follow each other:

1. Are the answers finite, and do they change at all?
2. Does a correction of what the policy gets or gives lower the error (`eval.diagnosis.search`)?
3. With these corrections in place: does an entry of the actions never change, do they depend on the instruction, and
   are they better than the best constant action?
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from eval.diagnosis.agreement import Agreement, agreement, error_scale
from eval.diagnosis.asking import Asker, Change
from eval.diagnosis.corrections.actions import action_corrections
from eval.diagnosis.corrections.correction import Correction
from eval.diagnosis.corrections.images import image_corrections
from eval.diagnosis.corrections.targets import target_corrections
from eval.diagnosis.corrections.vectors import vector_corrections
from eval.diagnosis.environment import check_fit
from eval.diagnosis.recorded import Answers, Rows, Sample, every_nth_frame, spread_frames
from eval.diagnosis.search import LEAST_DROP, LEVEL, MOST_FAULTS, Found, Outcome, Search
from eval.statistics.reduction import sign_test
from policies.base import Policy
from simscaleai.contract import EnvSpec, ImageSize
from simscaleai.data import Dataset
from simscaleai.data.keys import ACTION
from simscaleai.errors import SimScaleError

LEAST_EPISODES = 12
"""Fewest episodes with which a correction can be confirmed."""
EPISODES, STEPS = 20, 16
"""Default numbers of episodes, and of steps of each."""
_SCREENING_SHARE = 0.3
"""Share of the episodes on which corrections are screened."""
_LEAST_GAIN = 0.1
"""Share by which the error of a policy must lie below that of the best constant action."""
_PROBED_LOOKS = 12
"""Looks at each of two episodes that show whether a policy has a memory."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    fault: str
    """Name of the fault, for example "images.channels"."""
    cause: str
    """What is wrong, in words."""
    remedy: str
    """What to do, in words."""
    found: Found | None = None
    """The test that showed it; None for a direct test."""


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a policy, or how well its actions agree with the recorded ones."""

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    """Facts that may be intended."""
    agreement: Agreement
    """Of the policy as it is."""
    outcome: Outcome | None
    """Result of the search; None if a direct test already explained everything."""
    episodes: int
    """Number of episodes that were used, for screening and confirming together."""
    confirming: int
    """Number of episodes in which corrections were confirmed."""
    looks: int
    """Number of recorded observations at which the policy was asked, without corrections."""

    @property
    def needed(self) -> int:
        """Number of confirming episodes whose error must fall, for a correction that is tested alone."""
        counts = range(self.confirming + 1)
        return next(count for count in counts if sign_test(count, self.confirming) <= LEVEL / MOST_FAULTS)


def diagnose(
    policy: Policy,
    dataset: Dataset,
    spec: EnvSpec,
    *,
    episodes: int = EPISODES,
    steps: int = STEPS,
    progress: bool = False,
) -> Diagnosis:
    """Compare the actions of `policy` with those recorded in `dataset`, and name what is wrong.

    Args:
        policy: Any policy. Its memory is lost.
        dataset: Demonstrations, at least `LEAST_EPISODES` episodes.
        spec: From `spec_of`.
        episodes: Number of episodes to use, spread over the dataset.
        steps: Steps of each episode at which a policy without memory is asked. A policy with a memory is asked as often
            as the evaluator would ask it.
        progress: Whether to show progress on a terminal.

    Raises:
        SimScaleError: If there are too few episodes, the dataset lacks what the policy observes, the recorded actions
            never change, or the policy raises an exception.
    """
    return _Examination(policy, dataset, spec, episodes, steps, progress).run()


class _Examination:
    """One diagnosis."""

    def __init__(
        self, policy: Policy, dataset: Dataset, spec: EnvSpec, episodes: int, steps: int, progress: bool
    ) -> None:
        self.policy, self.dataset, self.spec = policy, dataset, spec
        self.other_size = check_fit(policy, spec)
        self.numbers = _chosen(len(dataset.episodes), episodes)
        self.statistics = dataset.statistics
        self.scale = error_scale(self.statistics[ACTION])
        if np.isnan(self.scale).all():
            raise SimScaleError("expected recorded actions that change, but none of their entries does")
        self.asker = Asker(policy, spec.action.size)
        self.steps, self.progress = steps, progress

    def run(self) -> Diagnosis:
        screening, confirming = self._samples()
        answers = self.asker.ask(confirming)
        finite = replace(answers, chunks=np.nan_to_num(answers.chunks, nan=0.0, posinf=0.0, neginf=0.0))
        figures = agreement(finite, self.spec.action.names, self.statistics[ACTION], self.scale)
        findings, notes, outcome = _useless(answers, figures), [], None
        if not findings:
            outcome = self._search(screening, confirming)
            findings = [*map(_of_found, outcome.faults), *self._further(screening, outcome)]
            notes = self._unused(screening, outcome.changes)
            if not any(finding.fault == "images.size" for finding in findings):
                notes = [*self._other_sizes(), *notes]
        return Diagnosis(
            findings=tuple(findings),
            notes=tuple(notes),
            agreement=figures,
            outcome=outcome,
            episodes=len(self.numbers),
            confirming=len(np.unique(confirming.episodes)),
            looks=len(screening) + len(confirming),
        )

    # Samples

    def _samples(self) -> tuple[Sample, Sample]:
        """Return the samples for screening and for confirming."""
        stride = self.asker.ask(self._sample(spread_frames(self.dataset, self.numbers[:1], 1), False)).executed
        keeps_memory = self._keeps_memory(stride)
        count, screened = len(self.numbers), max(1, round(_SCREENING_SHARE * len(self.numbers)))
        is_screening = np.diff(np.arange(count + 1) * screened // count) > 0  # evenly spread

        def sample(numbers: Rows, steps: int) -> Sample:
            if keeps_memory:
                return self._sample(every_nth_frame(self.dataset, numbers, stride), keeps_memory)
            return self._sample(spread_frames(self.dataset, numbers, steps), keeps_memory)

        return sample(self.numbers[is_screening], self.steps // 2), sample(self.numbers[~is_screening], self.steps)

    def _sample(self, frames: Rows, keeps_memory: bool) -> Sample:
        return Sample(dataset=self.dataset, frames=frames, keeps_memory=keeps_memory)

    def _keeps_memory(self, stride: int) -> bool:
        """Return whether an answer depends on earlier observations of the episode, or on how often it was asked."""
        frames = [every_nth_frame(self.dataset, [number], stride)[:_PROBED_LOOKS] for number in self.numbers[:2]]
        in_order, alone = (self.asker.ask(self._sample(np.concatenate(frames), keeps)) for keeps in (True, False))
        return not _same(in_order, alone)

    # Direct tests

    def _further(self, screening: Sample, outcome: Outcome) -> Iterator[Finding]:
        """Yield what is wrong even with all faults of the search corrected."""
        figures = agreement(outcome.corrected, self.spec.action.names, self.statistics[ACTION], self.scale)
        if self.other_size and figures.error >= LEAST_DROP:
            yield Finding("images.size", "; ".join(self._other_sizes()), "ask for the size of the training images")
        if constant := [entry.name for entry in figures.entries if entry.is_constant]:
            yield _never_changing("constant_entry", constant)
        if self._ignores_instruction(screening, outcome.changes):
            count = len({str(episode.metadata["instruction"]) for episode in self.dataset.episodes})
            yield Finding(
                "instruction.ignored",
                f"the model gets no instruction, or always the same one: the dataset has {count} different ones, and "
                "with another one the actions stay the same to the last bit",
                "pass the instruction of each episode on at reset; a policy that needs none must not ask for it",
            )
        elif (gain := figures.against_constant).share < _LEAST_GAIN:
            yield Finding(
                "no_agreement",
                f"the actions have little to do with the recorded ones: error {gain.after:.2f}, and {gain.before:.2f} "
                "with the best constant action; no correction explains it",
                "look at the adapter by hand, or at the training: is it this policy's dataset?",
            )

    def _other_sizes(self) -> list[str]:
        wanted, stored = self.policy.needs.cameras, self.spec.cameras
        return [
            f"the policy asks for {camera} with {_size(wanted[camera])} px, the dataset has {_size(stored[camera])} px"
            for camera in self.other_size
        ]

    def _ignores_instruction(self, sample: Sample, changes: Sequence[Change]) -> bool:
        """Return whether the policy asks for the instruction, and its actions do not depend on it."""
        texts = sample.instructions
        if len(set(texts)) < 2 or not self.policy.needs.instruction:
            return False
        others = [next(other for other in (*texts[row:], *texts) if other != text) for row, text in enumerate(texts)]
        return _same(self.asker.ask(sample, changes), self.asker.ask(sample, changes, others))

    def _unused(self, sample: Sample, changes: Sequence[Change]) -> list[str]:
        """Return a note for each vector and camera that the policy gets and does not use."""
        before = self.asker.ask(sample, changes)
        return [
            f"the policy gets {key} and does not use it"
            for key in self.policy.needs.keys
            if _same(before, self.asker.ask(sample, [*changes, _blanking(key)]))
        ]

    # The search

    def _search(self, screening: Sample, confirming: Sample) -> Outcome:
        needs, processor = self.policy.needs, getattr(getattr(self.policy, "checkpoint", None), "processor", None)
        forgetful = [_FORGETTING] if screening.keeps_memory else []
        stored = {} if processor is None else processor.vectors
        names = self.spec.action.names

        def of_answers(answers: Answers) -> Sequence[Correction]:
            own = None if processor is None else processor.action
            return [
                *action_corrections(answers, names, self.statistics[ACTION], own),
                *target_corrections(answers, names),
            ]

        observed = chain(image_corrections(needs), vector_corrections(needs, self.statistics, stored), forgetful)
        return Search(self.asker, screening, confirming, self.scale, list(observed), of_answers, self.progress).run()


_FORGETTING = Correction(
    fault="memory.stale",
    cause="what the policy remembers of earlier observations makes it worse: an inner chunk is executed too long, or "
    "reset does not clear the memory",
    remedy="look anew more often, and clear everything at reset",
    forgets=True,
)


def _chosen(available: int, episodes: int) -> Rows:
    """Return the numbers of the episodes to use, spread evenly over the dataset."""
    if min(available, episodes) < LEAST_EPISODES:
        raise SimScaleError(
            f"expected at least {LEAST_EPISODES} episodes, because fewer cannot show that a correction helps, got "
            f"{min(available, episodes)}; collect more, or raise --episodes"
        )
    return np.linspace(0, available - 1, min(available, episodes)).round().astype(np.intp)


def _useless(answers: Answers, figures: Agreement) -> list[Finding]:
    """Return what makes a search useless: answers that are not finite, or never change."""
    if not np.isfinite(answers.chunks).all():
        return [Finding("not_finite", "some actions are NaN or infinite", "find the first operation that gives them")]
    changing = [entry for entry in figures.entries if entry.correlation is not None]
    constant = [entry.name for entry in figures.entries if entry.is_constant]
    return [] if changing or not constant else [_never_changing("constant", constant)]


def _never_changing(fault: str, entries: Sequence[str]) -> Finding:
    return Finding(
        fault,
        f"the policy never changes {', '.join(entries)}, whatever it observes",
        "check that the observations reach the model, and that its output is not overwritten",
    )


def _blanking(key: str) -> Change:
    return lambda observed: observed | {key: np.zeros_like(observed[key])}


def _of_found(found: Found) -> Finding:
    correction = found.trial.correction
    return Finding(correction.fault, correction.cause, correction.remedy, found)


def _same(first: Answers, second: Answers) -> bool:
    return np.array_equal(first.chunks, second.chunks, equal_nan=True)


def _size(size: ImageSize | None) -> str:
    return "×".join(map(str, size or ()))
