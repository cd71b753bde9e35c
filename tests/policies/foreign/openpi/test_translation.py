"""What a server gets, and what becomes of its actions, against the definitions and against robosuite's formula."""

import math
import tomllib

import numpy as np
import pytest

from envs.foreign.suites import libero
from policies.foreign.openpi.adapter import parse_adapter, read_adapter
from policies.foreign.openpi.announcement import Announcement
from policies.foreign.openpi.translation import AdapterTranslation, NativeTranslation
from simscaleai.contract import ActionSpec, EnvSpec, Feature, Layout
from simscaleai.errors import MismatchError, SimScaleError, UnknownNameError


def action_of(size):
    names = tuple(f"a{number}" for number in range(size))
    return ActionSpec(names=names, low=(-1.0,) * size, high=(1.0,) * size, meaning="test")


def spec_of(vectors, cameras, size, instructions=True):
    return EnvSpec(
        env_id="Test/World-v0",
        digest="0",
        vectors={key: Layout(tuple(Feature(*each, "", "") for each in parts)) for key, parts in vectors.items()},
        cameras=cameras,
        action=action_of(size),
        control_hz=10,
        max_episode_steps=10,
        success="never",
        has_instructions=instructions,
    )


SPEC = spec_of(
    {"state": [("joints", 3), ("orientation", 4), ("opening", 1)], "goal": [("goal", 2)]}, {"front": None}, 3
)
SEEN = {
    "state": np.arange(8, dtype=np.float32),
    "goal": np.float32([10, 11]),
    "front": np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3),
}


def translation(text, spec=SPEC, size=3):
    return AdapterTranslation(
        parse_adapter(tomllib.loads(text + ("" if "[action]" in text else f"\n[action]\nsize = {size}"))), spec
    )


def vector(parts):
    return translation(f'[[vectors]]\nkey = "x"\nparts = [{parts}]').request(SEEN, "")["x"]


def image(*lines, key="x"):
    text = "\n".join(["[[images]]", f'key = "{key}"', 'camera = "front"', *lines])
    return translation(text).request(SEEN, "")


# Observations


def test_parts_of_vectors_are_joined_in_the_order_of_the_file():
    joined = vector(
        '{vector = "state", entries = ["opening", "joints.1"]},'
        '{vector = "goal"},'
        '{vector = "state", entries = ["joints"]}'
    )
    assert joined.tolist() == [7, 1, 10, 11, 0, 1, 2]
    assert joined.dtype == np.float32


def quat2axisangle(quat):
    """The formula of robosuite, which openpi's example for LIBERO uses. `quat` is (x, y, z, w)."""
    w = min(max(quat[3], -1.0), 1.0)
    den = math.sqrt(1.0 - w * w)
    return np.zeros(3) if math.isclose(den, 0.0) else (np.array(quat[:3]) * 2.0 * math.acos(w)) / den


@pytest.mark.parametrize("order", ["xyzw", "wxyz"])
def test_quaternions_become_axis_and_angle(order):
    rng = np.random.default_rng(0)
    quaternions = rng.normal(size=(50, 4))
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    special = [[0, 0, 0, 1], [0, 0, 0, -1], [1, 0, 0, 0], [0, 0, 0, 1.0000001]]
    part = f'{{vector = "state", entries = ["orientation"], convert = "axis_angle_of_{order}"}}'
    mapped = translation(f'[[vectors]]\nkey = "x"\nparts = [{part}]')
    for quaternion in np.float32([*quaternions, *special]):
        sent = np.roll(quaternion, 1) if order == "wxyz" else quaternion
        state = np.concatenate([np.zeros(3), sent, np.zeros(1)]).astype(np.float32)
        got = mapped.request({**SEEN, "state": state}, "")["x"]
        np.testing.assert_allclose(got, quat2axisangle(quaternion.astype(np.float64)), rtol=1e-6)


def test_images_are_turned_and_sent_with_channels_first_or_last():
    picture = SEEN["front"]
    np.testing.assert_array_equal(image("size = [4, 6]")["x"], picture)
    np.testing.assert_array_equal(image("size = [4, 6]", "rotated = true")["x"], np.rot90(picture, 2))
    np.testing.assert_array_equal(image("size = [4, 6]", "channels_first = true")["x"], np.moveaxis(picture, -1, 0))
    assert image("size = [4, 6]", 'group = "images"').keys() == {"images"}


def test_another_shape_is_padded_with_black_around_the_middle():
    white = {**SEEN, "front": np.full((4, 6, 3), 255, np.uint8)}
    text = '[[images]]\nkey = "x"\ncamera = "front"\nsize = [12, 12]'
    sent = translation(text).request(white, "")["x"]
    assert sent.shape == (12, 12, 3)
    assert (sent[2:10] == 255).all()
    assert not sent[:2].any()
    assert not sent[10:].any()


def test_the_environment_draws_what_it_can():
    text = '[[images]]\nkey = "x"\ncamera = "front"\nsize = [12, 12]'
    fixed = spec_of({}, {"front": (4, 6)}, 3)
    assert translation(text).needs.cameras == {"front": (12, 12)}
    assert translation(text + "\ndrawn = [30, 40]").needs.cameras == {"front": (30, 40)}
    assert translation(text, fixed).needs.cameras == {"front": (4, 6)}


def test_one_camera_is_drawn_in_one_size():
    one = '[[images]]\nkey = "{}"\ncamera = "front"\nsize = [12, 12]\ndrawn = [{}, 20]\n'
    assert translation(one.format("x", 20) + one.format("y", 20)).needs.cameras == {"front": (20, 20)}
    with pytest.raises(SimScaleError, match="one size in which camera 'front' is drawn"):
        translation(one.format("x", 20) + one.format("y", 30))


def test_the_instruction_is_sent_under_its_key_or_not_at_all():
    assert translation('prompt = "task"').request(SEEN, "lift") == {"task": "lift"}
    assert translation("").request(SEEN, "lift") == {}
    assert translation('prompt = "task"').needs.instruction
    assert translation('session = "id"').session("e1") == {"id": "e1"}
    assert translation("").session("e1") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[[vectors]]\nkey = "x"\nparts = [{vector = "stat"}]',
            "'stat'. Did you mean 'state'",
        ),
        ('[[vectors]]\nkey = "x"\nparts = [{vector = "state", entries = ["joint"]}]', "Did you mean 'joints'"),
        (
            '[[images]]\nkey = "x"\ncamera = "frnt"\nsize = [4, 4]',
            "'frnt'. Did you mean 'front'",
        ),
        (
            '[[vectors]]\nkey = "x"\nparts = [{vector = "state", convert = "axis_angle_of_xyzw"}]',
            "quaternion of 4 numbers",
        ),
        ("[action]\nsize = 4", "the 3 numbers of an action .a0, a1, a2., this one gives 4"),
    ],
)
def test_what_the_environment_lacks_is_named(text, message):
    with pytest.raises(SimScaleError, match=message):
        translation(text)


# Actions


def chunk(action, reply, size=3):
    return translation(f"[action]\n{action}").chunk(reply)


def test_actions_are_cut_and_scaled():
    sent = np.arange(10, dtype=np.float64).reshape(2, 5)
    got = chunk("size = 5\nfirst = 1\ncount = 3\nscale = [1.0, 2.0, -1.0]", {"actions": sent})
    assert got.tolist() == [[1, 4, -3], [6, 14, -8]]
    assert got.dtype == np.float32
    assert chunk("size = 3\nscale = [0.5]", {"actions": [[2, 4, 6]]}).tolist() == [[1, 2, 3]]
    assert chunk('size = 3\nkey = "a"', {"a": [[2, 4, 6]]}).tolist() == [[2, 4, 6]]


def test_the_gripper_is_turned_or_divided_at_a_threshold():
    sent = {"actions": np.float32([[1, 2, 0.4], [1, 2, 0.6]])}
    assert chunk("size = 3\ngripper = {entry = 2, sign = -1}", sent)[:, 2].tolist() == pytest.approx([-0.4, -0.6])
    assert chunk("size = 3\ngripper = {entry = 2, threshold = 0.5}", sent)[:, 2].tolist() == [-1, 1]
    turned = "size = 3\ngripper = {entry = 2, threshold = 0.5, below = 1.0, above = 0.0}"
    assert chunk(turned, sent)[:, 2].tolist() == [1, 0]


def test_a_gripper_that_is_not_finite_stays_an_invalid_action():
    sent = {"actions": np.float32([[1, 2, np.nan], [1, 2, np.inf], [1, np.nan, 0]])}
    got = chunk("size = 3\ngripper = {entry = 2, threshold = 0.5}", sent)
    assert np.isfinite(got).all(axis=1).tolist() == [False, False, False]


def test_a_bare_array_is_the_chunk():
    assert chunk("size = 3", np.ones((2, 3))).tolist() == [[1, 1, 1], [1, 1, 1]]


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"action": np.ones((2, 3))},
        {"actions": np.ones((2, 4))},
        {"actions": np.ones(3)},
        {"actions": np.ones((0, 3))},
        {"actions": np.ones((1, 2, 3))},
        {"actions": [[1, 2], [1, 2, 3]]},
        {"actions": [["a", "b", "c"]]},
        {"actions": np.array([["a", "b", "c"]])},
        {"actions": None},
        {"actions": {"x": 1}},
        "actions",
        7,
        None,
    ],
)
def test_nonsense_is_a_type_error_that_says_what_was_expected(reply):
    with pytest.raises(TypeError, match=r"expected actions of shape \(H, 3\)"):
        chunk("size = 3", reply)


# The shipped adapters


def test_libero_is_sent_as_the_example_of_openpi_sends_it():
    given = libero.details("spatial", 5)
    spec = spec_of(
        {"state": [each[:2] for each in given["vectors"]["state"]["features"]]}, dict.fromkeys(given["cameras"]), 7
    )
    mapped = AdapterTranslation(read_adapter("libero"), spec)
    assert mapped.needs.cameras == {"agentview": (256, 256), "wrist": (256, 256)}
    rng = np.random.default_rng(0)
    seen = {camera: rng.integers(0, 256, (256, 256, 3), dtype=np.uint8) for camera in mapped.needs.cameras}
    joints, position, fingers = rng.normal(size=7), rng.normal(size=3), rng.normal(size=2)
    quaternion = np.array([0.5, -0.5, 0.5, 0.5])
    state = np.concatenate([joints, position, quaternion, fingers]).astype(np.float32)
    request = mapped.request({**seen, "state": state}, "open the drawer")
    assert list(request) == ["observation/image", "observation/wrist_image", "observation/state", "prompt"]
    expected = np.concatenate([position, quat2axisangle(quaternion), fingers])
    np.testing.assert_allclose(request["observation/state"], expected, rtol=1e-6)
    assert request["observation/image"].shape == (224, 224, 3)
    assert request["prompt"] == "open the drawer"
    assert mapped.chunk({"actions": np.ones((10, 7))}).shape == (10, 7)


def test_droid_and_roboarena_have_seven_joints_and_a_gripper():
    vectors = {"joint_position": [("joint_position", 7)], "gripper_position": [("gripper_position", 1)]}
    cameras = dict.fromkeys(("exterior_image_0_left", "exterior_image_1_left", "wrist_image_left"))
    spec = spec_of(vectors, cameras, 8)
    seen = {key: np.zeros(sum(size for _, size in parts), np.float32) for key, parts in vectors.items()}
    seen |= {camera: np.zeros((224, 224, 3), np.uint8) for camera in cameras}
    droid = AdapterTranslation(read_adapter("droid"), spec)
    assert list(droid.request(seen, "wipe")) == [
        "observation/exterior_image_1_left",
        "observation/wrist_image_left",
        "observation/joint_position",
        "observation/gripper_position",
        "prompt",
    ]
    sent = {"actions": np.float32([[*[0.1] * 7, 0.7], [*[0.1] * 7, 0.2]])}
    assert droid.chunk(sent)[:, 7].tolist() == [1, 0]
    arena = AdapterTranslation(read_adapter("roboarena"), spec)
    assert arena.session("e") == {"session_id": "e"}
    np.testing.assert_array_equal(arena.chunk(sent["actions"]), sent["actions"])


def test_aloha_has_fourteen_joints_and_images_in_a_map_of_their_own():
    spec = spec_of({"agent_pos": [("agent_pos", 14)]}, {"pixels.top": (480, 640)}, 14, instructions=False)
    mapped = AdapterTranslation(read_adapter("aloha"), spec)
    seen = {"agent_pos": np.zeros(14, np.float32), "pixels.top": np.zeros((480, 640, 3), np.uint8)}
    request = mapped.request(seen, "")
    assert request.keys() == {"images", "state"}
    assert request["images"]["cam_high"].shape == (3, 224, 224)


# Servers of this project


def test_a_native_server_gets_the_observations_as_they_are():
    announced = Announcement(identity="a", needs=SPEC.needs("state", instruction=True), action=SPEC.action)
    mapped = NativeTranslation(announced, SPEC)
    assert mapped.request({"state": SEEN["state"]}, "lift") == {"state": SEEN["state"], "prompt": "lift"}
    assert mapped.chunk({"actions": np.ones((2, 3))}).shape == (2, 3)


def test_a_native_server_with_other_actions_is_a_mismatch():
    announced = Announcement(identity="a", needs=SPEC.needs("state"), action=action_of(2))
    with pytest.raises(MismatchError, match="action: policy a0"):
        NativeTranslation(announced, SPEC)


def test_an_unknown_name_says_which():
    with pytest.raises(UnknownNameError):
        translation('[[vectors]]\nkey = "x"\nparts = [{vector = "nothing"}]')
