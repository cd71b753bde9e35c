"""Stack: put one of three cubes on another one. The instruction names both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.tabletop.controller import CartesianController
from envs.tabletop.simulation import Simulation
from envs.tabletop.tasks.cubes import REST_TOLERANCE, CubeTask, draw_places
from envs.tabletop.tasks.task import distance, episode_stream, row_lengths
from simscaleai.contract import Feature, Layout

ON_TOP = 0.02
"""A cube on another one has its centre within this horizontal distance of the other centre [m]."""
STANDING_STEPS = 10
"""The tower must stand for this many control steps in a row."""

_MOVED = 0.03  # a base that is this far from its start was pushed [m]
_TOUCHING = 0.05  # cubes whose centres are nearer than this may lean on each other [m]

TEMPLATES = (
    "stack the {colour} cube on the {base} cube",
    "put the {colour} cube on top of the {base} cube",
    "place the {colour} block on the {base} block",
    "pick up the {colour} cube and set it down on the {base} one",
    "move the {colour} block onto the {base} block",
    "take the {colour} cube and put it on the {base} cube",
    "the {colour} cube goes on top of the {base} cube",
    "build a tower of two blocks, {base} below and {colour} above",
)
"""Wordings of the instruction. The seed of an episode selects one of them."""

HELD_OUT_TEMPLATES = (
    "lift the {colour} cube and carry it onto the {base} one",
    "i want the {colour} block to stand on the {base} block",
    "get the {colour} cube up onto the {base} cube",
    "on the {base} block, please, the {colour} block",
    "the top of the {base} cube is the place of the {colour} cube",
)
"""Wordings that no policy is trained on. An episode uses one of them only if the caller asks for it."""

_ONE_HOT = np.eye(3)


class Stack(CubeTask):
    """Stack the cube that the instruction names on the other one that it names.

    **Action.** `envs.tabletop.names.ACTION`, as in every task. Friction alone holds the cube.

    **Observation.** `state` (18): as in PickPlace. `environment_state` (27): position 3 [m] and orientation 4 (wxyz)
    of the cube to move, of the base and of the third cube; then the one-hot colours of cube 3 and base 3. Without
    `environment_state`, only the instruction tells which cube goes on which.

    **Randomization.** Three cubes uniform in x 0.40 to 0.60, y ±0.18 m, pairwise at least 0.1 m apart, the colours in
    random order; cube yaws uniform in ±45° (all distinct yaws); end effector start uniform in x 0.40 to 0.54, y ±0.12,
    z 0.16 to 0.26 m, gripper open; the cube to move uniform among the three, the base among the other two, the wording
    among `TEMPLATES`. Places, colour order, cube to move, base and wording come from independent streams of the seed.
    The options "target" and "instruction" of `reset(options=…)` replace the cube to move and the wording.

    **Success.** For 10 control steps in a row: centre of the named cube within 20 mm (xy) of the centre of the named
    base and within 5 mm of 40 mm above it, slower than 0.02 m/s, touched by no finger pad, the base on the table, after
    both pads held the named cube at least 40 mm above rest earlier in the episode.

    **Episode end.** At success (`terminate_on_success`), or after 200 control steps.

    **Version history.** v0: first.
    """

    scene = "stack"
    max_episode_steps = 200
    colours = ("red", "green", "blue")
    templates = TEMPLATES
    held_out_templates = HELD_OUT_TEMPLATES
    environment_layout = Layout(
        (
            *(
                feature
                for cube in ("cube", "base", "third_cube")
                for feature in (
                    Feature(f"{cube}_position", 3, "m", "world"),
                    Feature(f"{cube}_orientation", 4, "wxyz", "world"),
                )
            ),
            Feature("target", 3, "one-hot red, green, blue", "none"),
            Feature("base", 3, "one-hot red, green, blue", "none"),
        ),
        privileged=True,
    )

    def __init__(self, simulation: Simulation, controller: CartesianController) -> None:
        """Attach the task to the slots of `simulation`."""
        super().__init__(simulation, controller)
        self._base_index = np.ones(self.num_slots, dtype=np.intp)
        self._base_start = np.zeros((self.num_slots, 2))
        self._standing_steps = np.zeros(self.num_slots, dtype=np.int64)
        self.measure()

    # Episodes

    def begin_episode(self, slot: int, seed: int, options: Mapping[str, Any]) -> None:
        """Draw arm start, cubes, target, base and instruction."""
        places = draw_places([episode_stream(seed, "places")] * len(self.colours))
        self.begin_with_cubes(slot, seed, options, places)
        base = self.colours.index(self.choose_base(seed, self.targets[slot]))
        self._base_index[slot], self._base_start[slot] = base, self._poses[slot, base, :2]

    @classmethod
    def choose_base(cls, seed: int, target: str) -> str:
        """Return the colour of the cube to stack `target` on, drawn from `seed`."""
        others = [colour for colour in cls.colours if colour != target]
        return others[int(episode_stream(seed, "goal").integers(len(others)))]

    @classmethod
    def words(cls, target: str, seed: int) -> dict[str, str]:
        """Return what the placeholders of a template stand for: "colour" of the cube to move, "base"."""
        return {**super().words(target, seed), "base": cls.choose_base(seed, target)}

    def clear_history(self, mask: NDArray[np.bool_]) -> None:
        """Clear milestones, drops and lifts, and how long the tower has stood."""
        super().clear_history(mask)
        self._standing_steps[mask] = 0

    def measure(self) -> None:
        """Measure poses, distances and pad contacts, and on which cube the target lies."""
        super().measure()
        self._base_pose = self._poses[self._slots, self._base_index]
        self._third_pose = self._poses[self._slots, self._third_index()]
        top = self._base_pose[:, :3].copy()
        top[:, 2] += 2 * self.cube_half
        self._goal_distance = distance(self._target_pose[:, :3], top)
        self._is_on_base = self._is_on(self._base_pose)
        self._is_standing = self._is_on_base & self._is_slow & ~self._touched

    def _third_index(self) -> NDArray[np.intp]:
        return 3 - self._target_index - self._base_index  # the indices 0, 1 and 2 sum to 3

    def _is_on(self, pose: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return whether the target lies on the cube with `pose` (N, 7), which lies on the table."""
        above = self._target_pose[:, :3] - pose[:, :3]
        on_table = np.abs(pose[:, 2] - self.cube_half) < REST_TOLERANCE
        over = row_lengths(above[:, :2]) < ON_TOP
        return np.asarray(on_table & over & (np.abs(above[:, 2] - 2 * self.cube_half) < REST_TOLERANCE))

    def update_history(self, mask: NDArray[np.bool_]) -> None:
        """Store what happened to the cubes, and for how many steps in a row the tower has stood."""
        super().update_history(mask)
        self._standing_steps[mask] = np.where(self.is_placed(), self._standing_steps + 1, 0)[mask]

    # Results of the last measurement

    def success(self) -> NDArray[np.bool_]:
        """Return whether the tower has stood, released, for `STANDING_STEPS` control steps in a row."""
        return self._standing_steps >= STANDING_STEPS

    def is_placed(self) -> NDArray[np.bool_]:
        """Return whether the target lies on the base at this step, at rest and released, after it was lifted, (N,)."""
        return self._is_standing & self._lifted

    def is_unsupported(self) -> NDArray[np.bool_]:
        """Return whether the target is above the table and near no other cube, (N,)."""
        position = self._target_pose[:, :3]
        near_base, near_third = (
            distance(position, pose[:, :3]) < _TOUCHING for pose in (self._base_pose, self._third_pose)
        )
        return super().is_unsupported() & ~near_base & ~near_third

    def failure(self) -> NDArray[np.object_]:
        """Return the failure class that each episode would have if it ended now, (N,).

        "never_approached", "missed_grasp" (approached, never lifted), "pushed_base" (the base is more than 30 mm from
        its start), "tossed" (on the base, never lifted), "wrong_object" (another cube was lifted, not the target),
        "near_miss" (time ran out with the cube in hand, or before the tower had stood long enough), "not_released" (on
        the base, but still touched), "wrong_base" (on the third cube), "dropped" (fell from the gripper), "misplaced"
        (put down elsewhere), "toppled" (the tower stood before).
        """
        pushed = distance(self._base_pose[:, :2], self._base_start) > _MOVED
        conditions = {
            "tossed": self._is_on_base & ~self._lifted,
            "not_released": self._is_on_base & self._touched,
            "near_miss": self._is_on_base | (self._lifted & self._in_hand),
            "toppled": self._placed,
            "wrong_base": self._lifted & self._is_on(self._third_pose),
            "dropped": self._lifted & self._dropped,
            "pushed_base": pushed & (self._lifted | ~self._any_lifted.any(axis=1)),
            "misplaced": self._lifted,
            "wrong_object": self._any_lifted.any(axis=1),
            "missed_grasp": self._approached,
        }
        return np.select(list(conditions.values()), list(conditions), "never_approached").astype(object)

    def progress(self) -> NDArray[np.float64]:
        """Return up to 0.8 for approach, lift and nearness to the top of the base, as in PickPlace.

        While the tower stands, return 0.8, and 0.02 for each step that it has stood; at success, return 1.
        """
        standing = 0.8 + 0.2 * np.minimum(self._standing_steps / STANDING_STEPS, 1.0)
        return np.where(self._standing_steps > 0, standing, self.delivery(self._goal_distance))

    def distances(self) -> dict[str, NDArray[np.float64]]:
        """Return `distance_ee_cube` and `distance_cube_goal` (from the cube's place on top of the base)."""
        return {"distance_ee_cube": self._ee_distance.copy(), "distance_cube_goal": self._goal_distance.copy()}

    def episode_arrays(self) -> list[NDArray[Any]]:
        """Return the instructions, the targets and bases, and what happened to the cubes."""
        return [*super().episode_arrays(), self._base_index, self._base_start, self._standing_steps]

    def environment_parts(self) -> list[NDArray[np.float64]]:
        """Return the parts of `environment_layout`, each (N, size)."""
        colours = [_ONE_HOT[self._target_index], _ONE_HOT[self._base_index]]
        return [self._target_pose, self._base_pose, self._third_pose, *colours]
