"""The arrays that hold one episode step by step, for traces and recordings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simscaleai.contract import Needs

_TYPES = {"reward": np.float64, "success": np.bool_, "stage": np.str_}


@dataclass
class EpisodeTrace:
    """The steps of a running episode.

    The arrays of an episode with T steps, K looks of the policy, chunks of H and actions of A numbers:

    * `observation.KEY` float32 (T, size): each vector, before the step
    * `intended_action`, `executed_action` float32 (T, A): before and after probes and clipping
    * `reward` float64 (T,), `success` bool (T,), `stage` str (T,): after the step
    * `look_steps` int64 (K,): the steps at which the policy was asked
    * `chunks` float32 (K, H, A): the answers of the policy; a shorter chunk is filled up with NaN
    """

    needs: Needs
    """Its vectors are kept."""
    action_size: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Name of an array to its value, for each step."""
    chunks: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    """Step at which the policy was asked, to its answer."""

    def add(self, values: Mapping[str, Any], chunk: NDArray[np.float32] | None) -> None:
        """Add a step.

        Args:
            values: `Step.values_of` the slot of the episode.
            chunk: Answer of the policy if it was asked at this step.
        """
        if chunk is not None:
            self.chunks[len(self.rows)] = chunk.copy()
        self.rows.append({name: values[name] for name in (*self._sizes, *_TYPES)})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name."""
        return {
            **{name: self._column(name, np.float32).reshape(-1, size) for name, size in self._sizes.items()},
            **{name: self._column(name, dtype) for name, dtype in _TYPES.items()},
            "look_steps": np.array(list(self.chunks), dtype=np.int64),
            "chunks": self._chunk_array(),
        }

    @property
    def _sizes(self) -> dict[str, int]:
        """Name of each array of vectors to the size of a vector."""
        sizes = {f"observation.{key}": layout.size for key, layout in self.needs.vectors.items()}
        return sizes | dict.fromkeys(("intended_action", "executed_action"), self.action_size)

    def _column(self, name: str, dtype: Any) -> NDArray[Any]:
        return np.array([row[name] for row in self.rows], dtype=dtype)

    def _chunk_array(self) -> NDArray[np.float32]:
        """Return all chunks, shape (K, H, A)."""
        longest = max((len(chunk) for chunk in self.chunks.values()), default=0)
        chunks = np.full((len(self.chunks), longest, self.action_size), np.nan, dtype=np.float32)
        for filled, chunk in zip(chunks, self.chunks.values(), strict=True):
            filled[: len(chunk)] = chunk
        return chunks
