"""What a server announces survives its journey, and damage is one error."""

import json

import pytest

from envs import find_environment
from policies.foreign.openpi.announcement import Announcement
from policies.foreign.openpi.codec import pack, unpack
from simscaleai.errors import SimScaleError

SPEC = find_environment("pick-place").offer()
ANNOUNCED = Announcement(
    identity="abc",
    needs=SPEC.needs("state", cameras={"front": (96, 96)}),
    action=SPEC.action,
    options={"n_action_steps": 4},
)


def test_an_announcement_comes_back_from_the_metadata():
    received = unpack(pack({"simscale": ANNOUNCED.to_json()}))["simscale"]
    assert Announcement.from_json(received) == ANNOUNCED
    assert Announcement.from_json(json.loads(json.dumps(received))) == ANNOUNCED


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "expected version 1 of seeded serving, the server has 2"),
        ({"needs": 1}, "expected needs"),
        ({"action": {}}, "expected action.names"),
        ({"identity": None}, "expected identity"),
        ({"identity": {"a": b""}}, "something else than a policy"),
    ],
)
def test_damage_is_one_error(change, message):
    with pytest.raises(SimScaleError, match=message):
        Announcement.from_json({**ANNOUNCED.to_json(), **change})


def test_something_else_is_one_error():
    with pytest.raises(SimScaleError, match="version"):
        Announcement.from_json([1])
