"""Action and observation spaces of inspect-robots for a specification of ours."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from inspect_robots import ActionSemantics, Box, CameraSpec, ObservationSpace, StateField, StateSpec

from envs import find_environment
from envs.entry import Registration
from envs.tabletop.names import ACTION
from simscaleai.contract import ActionSpec, ImageSize, Layout
from simscaleai.errors import SimScaleError


def find_task(env: str) -> Registration:
    """Return the registration of the single task `env`.

    Raises:
        SimScaleError: If there is no such environment, or `env` names several.
    """
    registration = find_environment(env)
    if registration.tasks:
        raise SimScaleError(
            f"expected one task, got a suite of {len(registration.tasks)}: {env}; name one of its tasks"
        )
    return registration


def action_box(action: ActionSpec) -> Box:
    """Return the space of actions, with semantics where they are known."""
    semantics = None
    if action == ACTION:
        semantics = ActionSemantics("eef_delta_pos", gripper="continuous", frame="world", dim_labels=action.names)
    low, high = np.array(action.low), np.array(action.high)
    return Box(
        (action.size,), low if np.isfinite(low).all() else None, high if np.isfinite(high).all() else None, semantics
    )


def observation_space(vectors: Mapping[str, Layout], cameras: Mapping[str, ImageSize]) -> ObservationSpace:
    """Return the space of observations that hold `vectors` and `cameras`."""
    fields = tuple(StateField(key, (layout.size,), str(layout), "float32") for key, layout in vectors.items())
    sizes = tuple(CameraSpec(camera, height, width) for camera, (height, width) in cameras.items())
    return ObservationSpace(cameras=sizes, state=StateSpec(fields))
