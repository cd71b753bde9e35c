"""Names and constants of the tabletop world that policies, experts and reports share. Needs NumPy only.

Positions and axes are in the world frame: x points away from the robot's base, y to its left, z up. The origin is at
the base, on the table top.
"""

from __future__ import annotations

from simscaleai.contract import ActionSpec

REACH = "SimScale/Reach-v0"
PICK_PLACE = "SimScale/PickPlace-v0"
PICK_PLACE_LANGUAGE = "SimScale/PickPlaceLanguage-v0"
STACK = "SimScale/Stack-v0"
REACH_GOAL = "SimScale/ReachGoal-v0"
PICK_PLACE_GOAL = "SimScale/PickPlaceGoal-v0"

CONTROL_HZ = 20
"""Control steps per second, in every task."""

METRES_PER_STEP = 0.025
"""End-effector displacement of one control step at action ±1 [m] (0.5 m/s)."""

ACTION = ActionSpec(
    names=("delta_x", "delta_y", "delta_z", "gripper"),
    low=(-1.0, -1.0, -1.0, -1.0),
    high=(1.0, 1.0, 1.0, 1.0),
    meaning=(
        f"end-effector displacement x, y, z in the world frame ({METRES_PER_STEP} m per step at 1), "
        "gripper (-1 close, +1 open)"
    ),
    idle="zero",
    held=("gripper",),
)
"""The action of every task."""

STATE = "state"
"""Observation key of the vector of quantities that a robot can measure."""

ENVIRONMENT_STATE = "environment_state"
"""Observation key of the vector of simulator truth: poses of objects and goals."""

OBSERVATION, ACHIEVED_GOAL, DESIRED_GOAL = "observation", "achieved_goal", "desired_goal"
"""Observation keys of goal-conditioned tasks: what a learner sees beside the goals, the point that counts as achieved,
and where it should be."""

CAMERAS = ("front", "wrist")
"""Cameras of every scene. Their names are the observation keys of their images."""

OVERVIEW = "overview"
"""Camera for films; shows arm, table and objects together. No scene file defines it, and no policy sees its images."""

FILM_CAMERAS = (OVERVIEW, *CAMERAS)
"""Cameras for films, the default first."""
