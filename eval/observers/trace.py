"""Writes observations, actions and rewards of every step of chosen episodes into NumPy files."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from envs.slots import Begun, SlotEnv
from eval.episodes.observer import Observer, Step
from eval.episodes.plan import EpisodeSpec
from eval.episodes.results import EpisodeResult
from eval.observers.episode_trace import EpisodeTrace
from simscaleai.contract import Needs
from simscaleai.files import replace_file


class TraceRecorder(Observer):
    """Writes one `.npz` file per chosen episode, readable with `numpy.load`.

    `eval.observers.episode_trace` lists the arrays.
    """

    def __init__(self, traces: Mapping[int, Path], needs: Needs) -> None:
        """Trace the episodes with the indices in `traces`.

        Args:
            traces: Index of an episode to its file. Folders are created.
            needs: The vectors of these needs are traced, its cameras are not.
        """
        self._traces = dict(traces)
        self.needs = Needs(vectors=needs.vectors) if traces else Needs()
        self._episodes: dict[int, EpisodeTrace] = {}
        """Slot to the trace of its running episode."""

    def on_run_start(self, env: SlotEnv) -> None:
        """Create the folders."""
        self._action_size = env.spec.action.size
        for path in self._traces.values():
            path.parent.mkdir(parents=True, exist_ok=True)

    def on_episode_start(self, slot: int, spec: EpisodeSpec, begun: Begun) -> None:
        """Start the trace of a chosen episode."""
        if spec.episode_index in self._traces:
            self._episodes[slot] = EpisodeTrace(self.needs, self._action_size)

    def on_step(self, step: Step) -> None:
        """Add the step to the trace of each chosen episode."""
        for row, slot in enumerate(step.slots.tolist()):
            if slot in self._episodes:
                self._episodes[slot].add(step.values_of(row), step.chunks.get(slot))

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """Write the file."""
        trace = self._episodes.pop(slot, None)
        if trace:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **trace.arrays())  # type: ignore[arg-type]  # for its keyword allow_pickle
            replace_file(self._traces[result.episode_index], buffer.getvalue())

    def on_episode_abandoned(self, slot: int, spec: EpisodeSpec) -> None:
        """Drop the trace."""
        self._episodes.pop(slot, None)
