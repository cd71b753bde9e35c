"""What environments and policies agree on: numbers that cannot be are refused wherever they stand."""

from __future__ import annotations

from typing import Any

import pytest

from simscaleai.contract import ActionSpec, EnvSpec, Feature, Layout, Needs
from simscaleai.errors import SimScaleError

ACTION = ActionSpec(names=("x",), low=(-1.0,), high=(1.0,), meaning="displacement")


def spec(**changes: Any) -> EnvSpec:
    values = {"control_hz": 20, "max_episode_steps": 50} | changes
    return EnvSpec(env_id="a", digest="b", vectors={}, action=ACTION, success="", **values)


@pytest.mark.parametrize("make", [Needs, spec])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"control_hz": 0}, "expected control_hz above 0 and at most 1000000, got 0"),
        ({"control_hz": -1}, "got -1"),
        ({"control_hz": float("inf")}, "got inf"),
        ({"control_hz": float("nan")}, "got nan"),
        ({"max_episode_steps": 0}, "expected max_episode_steps of at least 1, got 0"),
    ],
)
def test_times_that_cannot_be_are_refused(make: Any, changes: Any, said: str) -> None:
    with pytest.raises(SimScaleError, match=said):
        make(**changes)


def test_every_entry_of_a_vector_has_a_name() -> None:
    layout = Layout((Feature("pose", 2, "m", "world"), Feature("yaw", 1, "rad", "world")))
    assert layout.entry_names == ["pose.0", "pose.1", "yaw"]
