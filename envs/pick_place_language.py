"""Pick and place among three cubes, where the instruction names the one to move."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.interface import Feature, Layout
from envs.pick_place import PickPlace
from envs.task import episode_stream

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
"""Wordings of the instruction; which one is used follows from the seed."""

HELD_OUT_TEMPLATES = (
    "lift the {colour} cube and carry it to the goal",
    "i want the {colour} block to be on the yellow disc",
    "get the {colour} cube over to the disc",
    "on the goal, please, the {colour} block",
    "the yellow disc is the place of the {colour} cube",
)
"""Wordings that no episode uses unless they are asked for, and so no policy is trained on."""

_ONE_HOT = np.eye(3)


class PickPlaceLanguage(PickPlace):
    """Pick up the cube that the instruction names and place it on the yellow disc.

    **Action.** As everywhere (`envs.interface.ACTION_MEANING`). Friction alone holds the cube.

    **Observation.** `state` (18): as in PickPlace. `environment_state` (34): PickPlace's of the cube to move (10);
    then for each of the red, green and blue cube its position 3 [m] and orientation 4 (wxyz); one-hot target 3.
    Otherwise the target is known from the instruction alone.

    **Randomization.** As in PickPlace, with three cubes and the goal pairwise at least 0.1 m apart, the colours in
    random order, the target uniform among them, the wording uniform among `TEMPLATES`. Places, colour order, goal,
    target and wording come from independent streams of the seed, and `reset(options={"target": …, "instruction": …})`
    overrides the last two: the same scene can be run with all three targets.

    **Success.** As in PickPlace, for the named cube.

    **Episode end.** At success (`terminate_on_success`), or after 150 control steps.

    **Version history.** v0: first.
    """

    scene = "pick_place_language"
    colours = ("red", "green", "blue")
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
        )
    )

    @classmethod
    def phrase(cls, target: str, seed: int) -> str:
        """Return one of `TEMPLATES`, drawn from the seed, naming `target`."""
        return _worded(TEMPLATES, target, seed)

    @classmethod
    def phrase_held_out(cls, target: str, seed: int) -> str:
        """Return one of `HELD_OUT_TEMPLATES`, drawn from the seed, naming `target`."""
        return _worded(HELD_OUT_TEMPLATES, target, seed)

    def environment_parts(self) -> list[NDArray[np.float64]]:
        """Return the target's pose, the goal, all poses and the one-hot target."""
        poses = self._poses.reshape(self.num_envs, -1)
        return [*super().environment_parts(), poses, _ONE_HOT[self._target_index]]


def _worded(templates: Sequence[str], target: str, seed: int) -> str:
    template = templates[int(episode_stream(seed, "phrasing").integers(len(templates)))]
    return template.format(colour=target)
