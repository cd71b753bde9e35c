"""N simulations of one scene, stepped together. Only this file and `crowd.py` use `mujoco.batch`.

All derived values of the batch are current after `step`, which computes kinematics and sensors at the new state. After
`reset`, the caller writes the state and calls `forward`. Rows outside the mask of a call do not change.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from envs.gl_backend import choose_gl_backend
from envs.tabletop.forks import SPAWN, never_destroy_in_forked_processes
from envs.tabletop.names import CONTROL_HZ
from simscaleai.assets import asset_path
from simscaleai.errors import SimScaleError

if TYPE_CHECKING:
    from envs.tabletop.variant.crowd import Crowd

choose_gl_backend()  # mujoco reads MUJOCO_GL when it is imported
try:
    import mujoco
    import mujoco.batch
except (RuntimeError, AttributeError) as error:  # what mujoco and PyOpenGL raise for an unusable backend
    raise SimScaleError(
        f"cannot load the simulator ({error}); unset MUJOCO_GL, or set it to an installed backend: egl, osmesa or glfw"
    ) from error

MAX_ARM_SPEED = 100.0
"""A simulation whose arm or fingers are faster than this [rad/s, m/s] has diverged."""

LOOKS = (
    *("cam_pos", "cam_quat", "light_pos", "light_dir", "light_ambient", "light_diffuse", "light_specular", "mat_rgba"),
    *("vis.headlight.ambient", "vis.headlight.diffuse", "vis.headlight.specular"),
)
"""Fields of a model that may differ between slots and change only how a slot looks."""
TEXTURE = "tex_data"
"""Field of the variant's model: the texture of the table. Only the pictures of a slot with this edit show a texture."""
PHYSICS = (
    *("geom_size", "geom_aabb", "geom_rbound", "bvh_aabb", "geom_friction"),
    *("body_mass", "body_inertia", "body_subtreemass", "body_invweight0"),
    *("dof_invweight0", "dof_M0", "dof_length"),
)
"""Fields of a model that may differ between slots and change how a slot moves."""

Edits = Mapping[str, NDArray[Any]]
"""Name of each field of a model that differs from the scene, to all its values."""

_ARM_DOFS = 9  # seven joints and two fingers come first in every scene
_NOTHING, _VELOCITIES = int(mujoco.mjtStage.mjSTAGE_NONE), int(mujoco.mjtStage.mjSTAGE_VEL)  # stages to compute
_YZX, _ZXY = np.array([1, 2, 0]), np.array([2, 0, 1])


@lru_cache(maxsize=8)
def load_scene(name: str) -> mujoco.MjModel:
    """Compile `assets/<name>.xml` once per process and return it; treat the model as read-only."""
    _silence_engine()
    return mujoco.MjModel.from_xml_path(str(asset_path(f"{name}.xml")))


def _silence_engine() -> None:
    """Stop the engine from writing to MUJOCO_LOG.TXT and stderr. Its warnings are read from the batch instead."""
    config = mujoco.MjLogConfig.get()
    config.logto_file = False
    config.logto_console = False
    mujoco.MjLogConfig.set(config)


def _default_threads(num_slots: int) -> int:
    """Return one thread for each 4 simulations, at most one per CPU, and at most OMP_NUM_THREADS."""
    # A scheduler may have given this process only some of the machine's CPUs.
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    most = int(allowed) if allowed.isdecimal() else cpus
    return max(1, min(cpus, most, num_slots // 4))


class Simulation:
    """N simulations of one scene with named, typed access to what controllers and tasks read and write.

    Attributes:
        scene: Stem of the scene's MJCF under assets/.
        model: The compiled scene; read-only.
        num_slots: Number of simulations, N.
        num_threads: Threads that share the simulations.
        state_rows: Complete state of each simulation, (N, number of values), live view. See `restore`.
        qpos: Joint positions, (N, nq), live view of the state.
        qvel: Joint velocities, (N, nv), live view.
        ctrl: Actuator commands, (N, nu), live view.
        marker_position: World position of the goal marker, (N, 3) [m], live view; (N, 0) without a marker.
        sensordata: Sensor readings, (N, number of readings), read-only; see `sensor_column`.
        ee_position: World position of the point between the finger pads, (N, 3) [m], read-only.
        edits: What differs from `model` in each slot; see `edit`.
        ee_rotation: Rotation matrix of the end effector (site `tool`), columns are its axes, (N, 3, 3), read-only.
    """

    def __init__(self, scene: str, num_slots: int, num_threads: int | None = None) -> None:
        """Compile `scene` and allocate the simulations.

        Args:
            scene: Stem of an MJCF under assets/, for example "reach".
            num_slots: Number of simulations, at least 1.
            num_threads: Threads that share the simulations; by default one for each 4 simulations, at most one per
                CPU, and at most OMP_NUM_THREADS if it is set.

        Raises:
            SimScaleError: If the scene does not exist, or `num_slots` is less than 1.
        """
        if num_slots < 1:
            raise SimScaleError(f"expected at least 1 slot, got {num_slots}")
        self.scene = scene
        self.model = load_scene(scene)
        self.num_slots = num_slots
        self.num_threads = num_threads or _default_threads(num_slots)
        self._batch = mujoco.batch.Batch(self.model, num_slots, nthread=self.num_threads, persistent=True)
        self.num_substeps = self._count_substeps()
        # A derived field that is bound after a call reads zero until the next call: bind everything here.
        bind = self._batch.bind
        self.qpos: NDArray[np.float64] = bind("qpos")
        self.qvel: NDArray[np.float64] = bind("qvel")
        self.ctrl: NDArray[np.float64] = bind("ctrl")
        self.marker_position: NDArray[np.float64] = bind("mocap_pos").reshape(num_slots, -1, copy=False)
        site = int(self.model.site("tool").id)
        self.ee_position: NDArray[np.float64] = bind("site_xpos")[:, site]
        self.ee_rotation: NDArray[np.float64] = bind("site_xmat")[:, site].reshape(num_slots, 3, 3)
        self._joint_axes, self._joint_anchors = bind("xaxis"), bind("xanchor")
        self.sensordata: NDArray[np.float64] = bind("sensordata")
        self._warning_counts: NDArray[np.int32] = self._batch.warning[:, :, 1]
        self.state_rows: NDArray[np.float64] = self._batch.state
        self.edits: list[Edits] = [{}] * num_slots
        self._crowd: Crowd | None = None  # made when an episode has distractors for the first time
        self._is_crowded = np.zeros(num_slots, dtype=bool)
        self._own_values: dict[str, NDArray[Any]] = {}  # of each field of PHYSICS that a slot has changed, (N, …)
        self._process = os.getpid()
        if self.num_threads > 1:
            never_destroy_in_forked_processes(self)

    def _count_substeps(self) -> int:
        timestep = float(self.model.opt.timestep)
        substeps = 1.0 / (CONTROL_HZ * timestep)
        if abs(substeps - round(substeps)) > 1e-9:
            raise SimScaleError(
                f"expected a physics step that divides a control step of {1 / CONTROL_HZ} s, got {timestep} s; "
                f"change it in assets/{self.scene}.xml"
            )
        return round(substeps)

    def step(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Advance the simulations in `mask` by one control step.

        Returns:
            Mask (N,) of the simulations that diverged. Their state from before the call is restored.

        Raises:
            SimScaleError: If this process was forked after the simulations were made, and they need threads.
        """
        self._check_process()
        before = [(rows, rows.copy()) for rows in self._all_rows()]
        failed = np.zeros(self.num_slots, dtype=bool)
        crowded = mask & self._is_crowded
        try:
            self._batch.step(ids=mask & ~crowded, nstep=self.num_substeps, stage=_VELOCITIES)
        except mujoco.batch.SimulationError as error:
            failed[error.ids] = True
        if self._crowd and crowded.any():
            ids, self.qpos[crowded], self.qvel[crowded] = self._crowd.step(crowded, self.num_substeps, self.ctrl)
            failed[ids] = True
            self._batch.forward(ids=crowded, stage=_VELOCITIES)
        if not self._all_healthy():
            failed |= mask & self._diverged()
        if failed.any():
            for rows, earlier in before:
                rows[failed] = earlier[failed]
            self._batch.forward(ids=failed)
        return failed

    def _all_rows(self) -> list[NDArray[np.float64]]:
        """Return the complete states of all simulations, each (N, …)."""
        return [self.state_rows, *([self._crowd.state_rows] if self._crowd else [])]

    def _warnings(self) -> NDArray[np.int32]:
        """Return the number of warnings in each slot, (N,)."""
        counts = self._warning_counts.sum(axis=1)
        return np.asarray(counts + self._crowd.warning_counts.sum(axis=1) if self._crowd else counts)

    def _all_healthy(self) -> bool:
        """Return True only if no simulation has diverged. This check is quicker than `_diverged` and usually enough."""
        slow = np.abs(self.qvel[:, :_ARM_DOFS]).max() < MAX_ARM_SPEED
        finite = math.isfinite(self.qpos.sum() + self.qvel.sum())  # NaN or infinity in any value remains in the sum
        return bool(slow and finite and not self._warnings().any())

    def _diverged(self) -> NDArray[np.bool_]:
        slow = (np.abs(self.qvel[:, :_ARM_DOFS]) < MAX_ARM_SPEED).all(axis=1)  # False for NaN
        finite = np.isfinite(self.qpos).all(axis=1) & np.isfinite(self.qvel).all(axis=1)
        return np.asarray(~(slow & finite & (self._warnings() == 0)))

    def reset(self, mask: NDArray[np.bool_]) -> None:
        """Set the simulations in `mask` to the model's default state. Then write their state and call `forward`."""
        self._check_process()
        self._batch.reset(ids=mask, stage=_NOTHING)
        if self._crowd:
            self._crowd.reset(mask)
            self._is_crowded[mask] = False

    def edit(self, slot: int, edits: Edits) -> None:
        """Give `slot` a model of its own, which differs from `model` in the fields of LOOKS and PHYSICS in `edits`.

        Then write the state of the slot and call `forward`.
        """
        for field in edits:
            if field in PHYSICS and field not in self._own_values:
                self._own_values[field] = self._batch.expand(field)
        for field, values in self._own_values.items():
            values[slot] = edits.get(field, getattr(self.model, field))
        self.edits[slot] = edits

    def values(self, field: str, slot: int) -> NDArray[Any]:
        """Return the values of a field of the model of `slot`, with its edits; read-only."""
        return np.asarray(self.edits[slot].get(field, getattr(self.model, field)))

    def place_distractors(self, slot: int, poses: Mapping[int, NDArray[np.float64]]) -> None:
        """Put distractors into `slot`: index in `DISTRACTORS` to pose (7,), position [m] then wxyz quaternion.

        They stay until the next `reset` of the slot. Call `forward` afterwards.
        """
        self._join_crowd(slot).poses[slot, list(poses)] = list(poses.values())

    def _join_crowd(self, slot: int) -> Crowd:
        """Let `slot` run in the variant of the scene from now on, with the model edits that it has."""
        from envs.tabletop.variant.crowd import Crowd

        self._crowd = self._crowd or Crowd(self.scene, self.num_slots, self.num_threads)
        self._crowd.edit(slot, {field: values for field, values in self.edits[slot].items() if field in PHYSICS})
        self._is_crowded[slot] = True
        return self._crowd

    def distractor_state(self, slot: int) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return poses (5, 7) and velocities (5, 6) of the distractors, live views, or None if the slot has none."""
        return (
            (self._crowd.poses[slot], self._crowd.velocities[slot]) if self._crowd and self._is_crowded[slot] else None
        )

    def needs_variant(self, slot: int) -> bool:
        """Return whether only the variant of the scene has all that a picture of `slot` shows."""
        return bool(self._is_crowded[slot]) or TEXTURE in self.edits[slot]

    def crowd_rows(self, slots: NDArray[np.intp]) -> list[NDArray[np.float64] | None]:
        """Return the complete state of each of `slots` in the variant of the scene, None for a slot without it."""
        return [
            self._crowd.state_rows[slot].copy() if self._crowd and self._is_crowded[slot] else None
            for slot in slots.tolist()
        ]

    def restore(
        self,
        slots: NDArray[np.intp],
        states: NDArray[np.float64],
        crowd_rows: Sequence[NDArray[np.float64] | None],
    ) -> None:
        """Put the simulations `slots` into earlier states.

        Args:
            slots: Slots, shape (n,).
            states: Earlier rows of `state_rows`, (n, number of values).
            crowd_rows: What `crowd_rows` returned then.
        """
        mask = np.zeros(self.num_slots, dtype=bool)
        mask[slots] = True
        self.reset(mask)  # clears the warnings of simulations that had diverged
        self.state_rows[slots] = states
        for slot, row in zip(slots.tolist(), crowd_rows, strict=True):
            if row is not None:
                self._join_crowd(slot).state_rows[slot] = row
        self._begin_crowd(mask)
        self._batch.forward(ids=mask, stage=_VELOCITIES)  # as after a step; later stages would change the state

    def _check_process(self) -> None:
        if self.num_threads > 1 and self._process != os.getpid():
            raise SimScaleError(
                f"an environment with {self.num_threads} threads does not work in a process that was forked after it "
                f"was made; pass num_threads=1, or {SPAWN}"
            )

    def forward(self, mask: NDArray[np.bool_]) -> None:
        """Compute all derived values of the simulations in `mask` from their state."""
        self._begin_crowd(mask)
        self._batch.forward(ids=mask)

    def _begin_crowd(self, mask: NDArray[np.bool_]) -> None:
        if self._crowd:
            self._crowd.begin(mask & self._is_crowded, self.qpos, self.qvel)

    def ee_jacobian(self, num_joints: int) -> NDArray[np.float64]:
        """Return the Jacobian of the end effector for the first joints, (N, 6, num_joints), linear rows first."""
        axes, arms = self._joint_axes[:, :num_joints], self.ee_position[:, None] - self._joint_anchors[:, :num_joints]
        columns = np.empty((self.num_slots, num_joints, 6))
        # axis × arm, in a fifth of the time of np.cross
        columns[..., :3] = axes.take(_YZX, 2) * arms.take(_ZXY, 2) - axes.take(_ZXY, 2) * arms.take(_YZX, 2)
        columns[..., 3:] = axes
        return columns.transpose(0, 2, 1)

    def free_bodies(self, names: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return live views of free bodies whose joints are consecutive in the scene.

        Returns:
            Poses (N, k, 7), position [m] then wxyz quaternion, and velocities (N, k, 6), linear then angular.
        """
        joints = [self.model.joint(name) for name in names]
        if any(int(b.qposadr[0]) - int(a.qposadr[0]) != 7 for a, b in pairwise(joints)):
            raise SimScaleError(f"bodies {list(names)} are not consecutive in the scene {self.scene!r}")
        k, start, dof = len(names), int(joints[0].qposadr[0]), int(joints[0].dofadr[0])
        poses, velocities = self.qpos[:, start : start + 7 * k], self.qvel[:, dof : dof + 6 * k]
        return poses.reshape(self.num_slots, k, 7, copy=False), velocities.reshape(self.num_slots, k, 6, copy=False)

    def sensor_column(self, name: str) -> int:
        """Return the column of a scalar sensor in `sensordata`."""
        return int(self.model.sensor(name).adr[0])

    def copy_data(self, slot: int, data: mujoco.MjData) -> None:
        """Copy simulation `slot` into `data`, for a renderer."""
        self._batch.get_data(slot, data)
