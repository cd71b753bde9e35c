"""Writes the receipts of the first episodes of a run, see `eval.runs.receipts`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.slots import Begun
from eval.episodes.observer import Observer, Step
from eval.episodes.plan import EpisodeSpec
from eval.episodes.results import EpisodeResult
from eval.runs.receipts import RECEIPT_EPISODES, Receipt, make_receipt, write_receipt
from simscaleai.contract import Needs, Observation


class ReceiptWriter(Observer):
    """Writes a receipt for each of the first episodes: what the policy got when it was first asked, and its answer."""

    def __init__(self, folder: Path, policy_needs: Needs) -> None:
        """Write into `folder`, the existing folder of the run, for a policy with the needs `policy_needs`."""
        self._folder, self._policy_needs = folder, policy_needs
        self._not_asked: dict[int, tuple[EpisodeSpec, str]] = {}
        """Slot to episode and instruction, for episodes in which the policy has not been asked yet."""
        self._not_answered: dict[int, Receipt] = {}
        """Slot to the receipt, for episodes in which the policy was asked and has not answered yet."""

    def on_episode_start(self, slot: int, spec: EpisodeSpec, begun: Begun) -> None:
        """Note the episode if it gets a receipt."""
        if spec.episode_index in RECEIPT_EPISODES:
            self._not_asked[slot] = spec, begun.instruction

    def on_look(self, slots: NDArray[np.intp], observation: Observation) -> None:
        """Note the observation, before the policy can change it."""
        for row, slot in enumerate(slots.tolist()):
            if slot in self._not_asked:
                spec, instruction = self._not_asked.pop(slot)
                received = {key: rows[row] for key, rows in observation.items()}
                self._not_answered[slot] = make_receipt(
                    spec.episode_index, spec.seed, instruction, received, self._policy_needs
                )

    def on_step(self, step: Step) -> None:
        """Write the receipts of the slots where the policy has answered.

        Raises:
            WriteError: If a receipt cannot be written.
        """
        for slot in self._not_answered.keys() & step.chunks.keys():
            write_receipt(self._folder, self._not_answered.pop(slot).with_answer(step.chunks[slot]))

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """Write the receipt, without an answer, if the policy raised an exception."""
        self._not_asked.pop(slot, None)
        receipt = self._not_answered.pop(slot, None)
        if receipt:
            write_receipt(self._folder, receipt)

    def on_episode_abandoned(self, slot: int, spec: EpisodeSpec) -> None:
        """Drop what was noted."""
        self._not_asked.pop(slot, None)
        self._not_answered.pop(slot, None)
