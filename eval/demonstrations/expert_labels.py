"""Labels by an expert for the states that another policy visits.

The expert's actions in these states show a learner how to recover from the mistakes of the acting policy.

Source: Ross et al. 2011, A Reduction of Imitation Learning and Structured Prediction to No-Regret Online Learning
(DAgger).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.slots import Begun
from eval.episodes.faults import Fault, PolicyCalls
from eval.episodes.history import History
from eval.episodes.observer import Step
from eval.episodes.plan import EpisodeSpec
from eval.episodes.pulse import Pulse
from eval.observers.dataset import Labels
from policies.base import Policy
from simscaleai.contract import Observation
from simscaleai.errors import SimScaleError


class ExpertError(SimScaleError):
    """An expert raised an exception, or its answer cannot be a label."""


class ExpertLabels(Labels):
    """Asks an expert at every step; the first action of its chunk is the label."""

    def __init__(self, expert: Policy, name: str, action_size: int, pulse: Pulse | None = None) -> None:
        """Ask `expert`.

        Args:
            expert: Policy that labels. It gets only the observations that it needs.
            name: Name of the expert, for messages.
            action_size: Numbers per action.
            pulse: Notes each call of the expert, for a watchdog.
        """
        self.needs = expert.needs
        self._calls, self._name = PolicyCalls(expert, action_size, pulse or Pulse()), name
        self._history = History(expert.needs.history) if expert.needs.history > 1 else None
        self._episodes: dict[int, EpisodeSpec] = {}
        """Slot to its running episode."""

    def begin(self, slot: int, spec: EpisodeSpec, begun: Begun) -> None:
        """Reset the expert in `slot`.

        Raises:
            ExpertError: If the expert raises an exception.
        """
        self._episodes[slot], slots = spec, np.array([slot], dtype=np.intp)
        if self._history:
            self._history.begin(slots)
        try:
            self._calls.reset(slots, [spec.seed], [begun.instruction])
        except Fault as fault:
            raise self._error(slot, fault.__cause__) from fault

    def of(self, step: Step) -> NDArray[np.float32]:
        """Return the first action of the expert's chunk for each slot of `step`, shape (n, A).

        Raises:
            ExpertError: If the expert raises an exception, or its answer has the wrong type, shape or dtype, or is not
                finite.
        """
        seen = {key: step.observation[key] for key in self.needs.keys}
        if self._history:
            self._history.add(step.slots, seen)
            seen = self._history.windows(step.slots)
        try:
            labels = self._predict(seen, step.slots)
        except Fault as fault:
            raise self._error(*self._find_cause(seen, step.slots, fault)) from fault
        for row in np.flatnonzero(~np.isfinite(labels).all(axis=1)).tolist():
            raise self._error(int(step.slots[row]), ValueError("the action is not finite"))
        return labels

    def _predict(self, seen: Observation, slots: NDArray[np.intp]) -> NDArray[np.float32]:
        copies = {key: rows.copy() for key, rows in seen.items()}  # the expert may change the arrays that it gets
        return self._calls.predict(copies, slots)[:, 0]

    def _find_cause(self, seen: Observation, slots: NDArray[np.intp], fault: Fault) -> tuple[int, BaseException | None]:
        """Return the first slot whose observation alone makes the expert fail, and the exception."""
        for row, slot in enumerate(slots.tolist()):
            try:
                self._predict({key: rows[row : row + 1] for key, rows in seen.items()}, slots[row : row + 1])
            except Fault as alone:
                return slot, alone.__cause__
        return int(slots[0]), fault.__cause__

    def _error(self, slot: int, cause: BaseException | None) -> ExpertError:
        spec, text = self._episodes[slot], " ".join(str(cause).split())
        return ExpertError(
            f"the expert {self._name!r} failed in episode {spec.episode_index} (seed {spec.seed}): "
            f"{type(cause).__name__}: {text}; finished episodes are kept"
        )
