"""Writes observations, actions and rewards of every step of chosen episodes into NumPy files."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.slots import Begun, SlotEnv
from eval.episodes.observer import Observer, Step
from eval.episodes.plan import EpisodeSpec
from eval.episodes.results import EpisodeResult
from simscaleai.contract import Needs
from simscaleai.files import replace_file


class TraceRecorder(Observer):
    """Writes one `.npz` file per chosen episode, readable with `numpy.load`.

    The arrays of an episode with T steps, K looks of the policy, chunks of H and actions of A numbers:

    * `observation.KEY` float32 (T, size): each vector, before the step
    * `intended_action`, `executed_action` float32 (T, A): before and after probes and clipping
    * `reward` float64 (T,), `success` bool (T,), `stage` str (T,): after the step
    * `look_steps` int64 (K,): the steps at which the policy was asked
    * `chunks` float32 (K, H, A): the answers of the policy; a shorter chunk is filled up with NaN
    """

    def __init__(self, traces: Mapping[int, Path], needs: Needs) -> None:
        """Trace the episodes with the indices in `traces`.

        Args:
            traces: Index of an episode to its file. Folders are created.
            needs: The vectors of these needs are traced, its cameras are not.
        """
        self._traces = dict(traces)
        self.needs = Needs(vectors=needs.vectors) if traces else Needs()
        self._episodes: dict[int, _EpisodeTrace] = {}
        """Slot to the trace of its running episode."""

    def on_run_start(self, env: SlotEnv) -> None:
        """Create the folders."""
        self._action_size = env.spec.action.size
        for path in self._traces.values():
            path.parent.mkdir(parents=True, exist_ok=True)

    def on_episode_start(self, slot: int, spec: EpisodeSpec, begun: Begun) -> None:
        """Start the trace of a chosen episode."""
        if spec.episode_index in self._traces:
            self._episodes[slot] = _EpisodeTrace(self.needs, self._action_size)

    def on_step(self, step: Step) -> None:
        """Add the step to the trace of each chosen episode."""
        for row, slot in enumerate(step.slots.tolist()):
            if slot in self._episodes:
                self._episodes[slot].add(step, row, step.chunks.get(slot))

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


@dataclass
class _EpisodeTrace:
    """The trace of a running episode."""

    needs: Needs
    action_size: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    chunks: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    """Step at which the policy was asked, to its answer."""

    def add(self, step: Step, row: int, chunk: NDArray[np.float32] | None) -> None:
        """Add the row `row` of `step`; `chunk` is the answer of the policy if it was asked at this step."""
        if chunk is not None:
            self.chunks[len(self.rows)] = chunk.copy()
        observation = {f"observation.{key}": step.observation[key][row] for key in self.needs.vectors}
        values = {
            "intended_action": step.intended[row],
            "executed_action": step.executed[row],
            "reward": step.reward[row],
            "success": step.success[row],
            "stage": step.stage[row],
        }
        self.rows.append(observation | values)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the file."""
        sizes = {f"observation.{key}": layout.size for key, layout in self.needs.vectors.items()}
        sizes |= dict.fromkeys(("intended_action", "executed_action"), self.action_size)
        types = {"reward": np.float64, "success": np.bool_, "stage": np.str_}
        return {
            **{name: self._column(name, np.float32).reshape(-1, size) for name, size in sizes.items()},
            **{name: self._column(name, dtype) for name, dtype in types.items()},
            "look_steps": np.array(list(self.chunks), dtype=np.int64),
            "chunks": self._chunk_array(),
        }

    def _column(self, name: str, dtype: Any) -> NDArray[Any]:
        return np.array([row[name] for row in self.rows], dtype=dtype)

    def _chunk_array(self) -> NDArray[np.float32]:
        """Return all chunks, shape (K, H, A)."""
        longest = max((len(chunk) for chunk in self.chunks.values()), default=0)
        chunks = np.full((len(self.chunks), longest, self.action_size), np.nan, dtype=np.float32)
        for filled, chunk in zip(chunks, self.chunks.values(), strict=True):
            filled[: len(chunk)] = chunk
        return chunks
