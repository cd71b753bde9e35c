"""Pick and place among three cubes. The instruction names the cube to move."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.tabletop.tasks.pick_place import PickPlace
from simscaleai.contract import Feature, Layout

TEMPLATES = (
    "pick up the {colour} cube and place it on the goal",
    "put the {colour} cube on the yellow disc",
    "move the {colour} block to the goal",
    "place the {colour} block on the yellow disc",
    "take the {colour} cube and set it down on the goal",
    "grab the {colour} block and put it on the disc",
    "bring the {colour} cube to the yellow goal",
    "the {colour} cube goes on the disc",
)
"""Wordings of the instruction. The seed of an episode selects one of them."""

HELD_OUT_TEMPLATES = (
    "lift the {colour} cube and carry it to the goal",
    "i want the {colour} block to be on the yellow disc",
    "get the {colour} cube over to the disc",
    "on the goal, please, the {colour} block",
    "the yellow disc is the place of the {colour} cube",
)
"""Wordings that no policy is trained on. An episode uses one of them only if the caller asks for it."""

_ONE_HOT = np.eye(3)


class PickPlaceLanguage(PickPlace):
    """Pick up the cube that the instruction names and place it on the yellow disc.

    **Action.** `envs.tabletop.names.ACTION`, as in every task. Friction alone holds the cube.

    **Observation.** `state` (18): as in PickPlace. `environment_state` (34): the 10 numbers of PickPlace for the cube
    to move; then position 3 [m] and orientation 4 (wxyz) of the red, the green and the blue cube; then the one-hot
    target 3. Without `environment_state`, only the instruction tells which cube to move.

    **Randomization.** As in PickPlace, with three cubes and the goal pairwise at least 0.1 m apart, the colours in
    random order, the target uniform among them, the wording uniform among `TEMPLATES`. Places, colour order, goal,
    target and wording come from independent streams of the seed. The options "target" and "instruction" of
    `reset(options=…)` replace target and wording, so the same scene can be run with all three targets.

    **Success.** At one step: centre of the named cube within 30 mm (xy) of the goal and 5 mm of its resting height,
    slower than 0.02 m/s, touched by no finger pad, after both pads held it at least 40 mm above rest earlier in the
    episode.

    **Episode end.** At success (`terminate_on_success`), or after 150 control steps.

    **Version history.** v0: first.
    """

    scene = "pick_place_language"
    colours = ("red", "green", "blue")
    templates = TEMPLATES
    held_out_templates = HELD_OUT_TEMPLATES
    environment_layout = Layout(
        (
            *PickPlace.environment_layout.features,
            *(
                feature
                for colour in colours
                for feature in (
                    Feature(f"{colour}_cube_position", 3, "m", "world"),
                    Feature(f"{colour}_cube_orientation", 4, "wxyz", "world"),
                )
            ),
            Feature("target", 3, "one-hot red, green, blue", "none"),
        ),
        privileged=True,
    )

    def environment_parts(self) -> list[NDArray[np.float64]]:
        """Return the pose of the target, the goal, the poses of all cubes, and the one-hot target."""
        poses = self._poses.reshape(self.num_slots, -1)
        return [*super().environment_parts(), poses, _ONE_HOT[self._target_index]]
