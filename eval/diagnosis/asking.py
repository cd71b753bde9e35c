"""`Asker`, which asks a policy at the rows of a sample, with corrected observations if wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from eval.diagnosis.recorded import Answers, Sample
from eval.episodes.faults import Fault, PolicyCalls
from eval.episodes.pulse import Pulse
from policies.base import Policy
from simscaleai.contract import Observation
from simscaleai.errors import SimScaleError, exception_text

Change = Callable[[Observation], Observation]


class Asker:
    """Asks one policy. The policy is a black box with `reset` and `predict`."""

    def __init__(self, policy: Policy, action_size: int) -> None:
        """Ask `policy`, whose actions have `action_size` numbers."""
        self.needs, self._options = policy.needs, policy.options
        self._calls = PolicyCalls(policy, action_size, Pulse())
        self.rows = 0
        """Number of observations at which the policy was asked."""

    def ask(self, sample: Sample, changes: Sequence[Change] = (), instructions: Sequence[str] | None = None) -> Answers:
        """Return the answers of the policy at the rows of `sample`.

        Args:
            sample: The rows.
            changes: Corrections of the observations; the last one is applied first.
            instructions: Instruction of each row; by default the recorded one.

        Raises:
            SimScaleError: If the policy raises an exception, or answers in a wrong shape or with different lengths.
        """
        try:
            found = self._ask(sample, changes, sample.instructions if instructions is None else instructions)
        except Fault as fault:
            reason = "" if fault.__cause__ is None else exception_text(fault.__cause__)
            raise SimScaleError(
                f"the policy cannot answer recorded observations: {reason}; mend the policy first"
            ) from fault
        horizon = found.shape[1]
        return Answers(sample=sample, chunks=found.astype(np.float64), executed=self._executed(horizon))

    def _ask(self, sample: Sample, changes: Sequence[Change], instructions: Sequence[str]) -> NDArray[np.float32]:
        found: list[tuple[NDArray[np.intp], NDArray[np.float32]]] = []
        seeds = sample.seeds
        for calls in sample.calls:
            first = calls[0]
            slots = sample.slots(first)
            self._calls.reset(slots, [seeds[row] for row in first], [instructions[row] for row in first])
            for rows in calls:
                observation = sample.observation(self.needs, rows)
                for change in reversed(changes):
                    observation = change(observation)
                found.append((rows, self._calls.predict(observation, sample.slots(rows)).copy()))
        self.rows += len(sample)
        return _in_order(found)

    def _executed(self, horizon: int) -> int:
        """Return how many of `horizon` actions the evaluator executes before it asks again."""
        if self._options.get("ensemble_decay") is not None:
            return 1
        return min(int(self._options.get("n_action_steps") or horizon), horizon)


def _in_order(found: Sequence[tuple[NDArray[np.intp], NDArray[np.float32]]]) -> NDArray[np.float32]:
    """Return the chunks of all rows, (N, H, A). Chunks of different lengths are cut to the shortest."""
    horizon = min(chunks.shape[1] for _, chunks in found)
    rows = np.concatenate([rows for rows, _ in found])
    chunks = np.concatenate([chunks[:, :horizon] for _, chunks in found])
    ordered = np.empty_like(chunks)
    ordered[rows] = chunks
    return ordered
