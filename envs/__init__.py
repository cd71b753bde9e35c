"""Environments: the MuJoCo tabletop tasks of this project, and `SlotEnv`, the interface to the evaluator.

`gym.make("envs:SimScale/PickPlace-v0")` imports this package, which registers the ids. No simulator is loaded until an
environment is made.
"""

from __future__ import annotations

import simscaleai.errors  # noqa: F401 (before the libraries, so that Ctrl-C while they load leaves no traceback)
from envs.registration import Registration, environment_names, find_environment, register_environment
from envs.tabletop.names import PICK_PLACE, PICK_PLACE_GOAL, PICK_PLACE_LANGUAGE, REACH, REACH_GOAL, STACK
from envs.tabletop.registration import register_task

__all__ = ["Registration", "environment_names", "find_environment", "register_environment", "register_task"]

register_task("reach", REACH, "envs.tabletop.tasks.reach:Reach", 50)
register_task("pick-place", PICK_PLACE, "envs.tabletop.tasks.pick_place:PickPlace", 150)
register_task(
    "pick-place-language", PICK_PLACE_LANGUAGE, "envs.tabletop.tasks.pick_place_language:PickPlaceLanguage", 150
)
register_task("stack", STACK, "envs.tabletop.tasks.stack:Stack", 200)
register_task("reach-goal", REACH_GOAL, "envs.tabletop.tasks.reach_goal:ReachGoal", 50, goal_conditioned=True)
register_task(
    "pick-place-goal", PICK_PLACE_GOAL, "envs.tabletop.tasks.pick_place_goal:PickPlaceGoal", 150, goal_conditioned=True
)
