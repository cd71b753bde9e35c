"""`Crowd`: the simulations of the slots whose episode has distractors, in the variant of the scene.

Tasks, controllers and observations read and write the simulations of the scene. For a slot with distractors, a control
step runs in the variant, with the commands of the slot; then the state of the scene's own bodies is copied back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mujoco
import mujoco.batch
import numpy as np
from numpy.typing import NDArray

from envs.tabletop.variant.scene import BELOW_FLOOR, DISTRACTORS, load_variant

_NOTHING = int(mujoco.mjtStage.mjSTAGE_NONE)


class Crowd:
    """N simulations of the variant of a scene.

    Attributes:
        poses: Poses of the distractors, (N, 5, 7), position [m] then wxyz quaternion, live view.
        velocities: Velocities of the distractors, (N, 5, 6), linear then angular, live view.
        state_rows: Complete state of each simulation, (N, number of values), live view.
        warning_counts: Warnings of the engine in each simulation, (N, kinds of warnings), live view.
    """

    def __init__(self, scene: str, num_slots: int, num_threads: int) -> None:
        """Compile the variant of `scene` and allocate the simulations."""
        self._model, count = load_variant(scene), len(DISTRACTORS)
        self._batch = mujoco.batch.Batch(self._model, num_slots, nthread=num_threads, persistent=True)
        qpos, qvel, self._ctrl = (self._batch.bind(name) for name in ("qpos", "qvel", "ctrl"))
        self._qpos, self._qvel = qpos[:, : -7 * count], qvel[:, : -6 * count]  # of the scene's own bodies
        self.poses = qpos[:, -7 * count :].reshape(num_slots, count, 7, copy=False)
        self.velocities = qvel[:, -6 * count :].reshape(num_slots, count, 6, copy=False)
        self.state_rows: NDArray[np.float64] = self._batch.state
        self.warning_counts: NDArray[np.int32] = self._batch.warning[:, :, 1]
        self._own_values: dict[str, NDArray[Any]] = {"body_gravcomp": self._batch.expand("body_gravcomp")}

    def edit(self, slot: int, values: Mapping[str, NDArray[Any]]) -> None:
        """Give the scene's part of the model of `slot` these values of fields, and the nominal ones elsewhere."""
        for field in values:
            if field not in self._own_values:
                self._own_values[field] = self._batch.expand(field)
        for field, rows in self._own_values.items():
            rows[slot] = getattr(self._model, field)
            if field in values:
                rows[slot, : len(values[field])] = values[field]

    def reset(self, mask: NDArray[np.bool_]) -> None:
        """Set the simulations in `mask` to the model's default state, in which no distractor is in sight."""
        self._batch.reset(ids=mask, stage=_NOTHING)

    def begin(self, mask: NDArray[np.bool_], qpos: NDArray[np.float64], qvel: NDArray[np.float64]) -> None:
        """Begin in the simulations of `mask`, with `qpos` (N, …) and `qvel` (N, …) of the scene's own bodies.

        Distractors below the floor float where they are.
        """
        self._qpos[mask], self._qvel[mask] = qpos[mask], qvel[mask]
        self._own_values["body_gravcomp"][mask, -len(DISTRACTORS) :] = self.poses[mask, :, 2] < BELOW_FLOOR

    def step(
        self, mask: NDArray[np.bool_], num_substeps: int, ctrl: NDArray[np.float64]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
        """Advance the simulations in `mask` by `num_substeps` with the commands `ctrl` (N, nu).

        Returns:
            Slots that failed; and, of the scene's own bodies, positions and velocities of the simulations in `mask`.
        """
        self._ctrl[mask] = ctrl[mask]
        failed = np.zeros(0, dtype=np.intp)
        try:
            self._batch.step(ids=mask, nstep=num_substeps)
        except mujoco.batch.SimulationError as error:
            failed = np.asarray(error.ids, dtype=np.intp)
        return failed, self._qpos[mask], self._qvel[mask]
