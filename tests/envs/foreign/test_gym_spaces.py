"""Spaces of one Gymnasium environment, as vectors, images and flat actions."""

import numpy as np
import pytest
from gymnasium import spaces

from envs.foreign.gym_spaces import ActionSpace, EpisodeError, ObservationSpace, SetUpError, image_in


def box(*shape, low=-np.inf, high=np.inf, dtype=np.float64):
    return spaces.Box(low, high, shape, dtype)


def image(*shape):
    return spaces.Box(0, 255, shape, np.uint8)


def read(space, observation, reward=0.0):
    """Return what was read, and the bytes of the state."""
    memory = np.empty(space.most_state_bytes, dtype=np.uint8)
    observed = space.read(observation, reward, memory)
    return observed, memory[: observed.state_bytes]


def test_a_nested_dict_becomes_named_vectors_and_cameras():
    space = spaces.Dict(
        {
            "arm": spaces.Dict({"joint angles": box(2, 3), "gripper/width": box(dtype=np.float32)}),
            "eyes": spaces.Dict({"left": image(16, 24, 3), "right": image(3, 16, 24), "grey": image(16, 24, 1)}),
        }
    )
    converted = ObservationSpace(space)
    assert converted.vectors == {"arm.joint angles": 6, "arm.gripper/width": 1}
    assert converted.cameras == dict.fromkeys(("eyes.left", "eyes.right", "eyes.grey"), (16, 24))
    sample = space.sample()
    (vectors, places, _), state = read(converted, sample, 0.5)
    np.testing.assert_array_equal(vectors["arm.joint angles"], sample["arm"]["joint angles"].ravel().astype(np.float32))
    assert vectors["arm.gripper/width"].dtype == np.float32
    right, grey = (image_in(state, places[key]) for key in ("eyes.right", "eyes.grey"))
    np.testing.assert_array_equal(right, np.moveaxis(sample["eyes"]["right"], 0, 2))
    np.testing.assert_array_equal(grey, np.repeat(sample["eyes"]["grey"], 3, axis=2))


@pytest.mark.parametrize("place", [(-1, 2, 2, 3), (0, -2, -2, 3), (1, 2, 2, 3), (0, 2**40, 2**40, 3)])
def test_no_image_lies_outside_of_the_state(place):
    with pytest.raises(ValueError, match="expected an image within 12 bytes"):
        image_in(np.zeros(12, np.uint8), place)


def test_the_bytes_of_an_observation_are_those_that_the_environment_gave():
    converted = ObservationSpace(box(3))
    for values in (np.array([0.1, 0.2, 0.3]), np.array([0.1, 0.2, 0.3 + 1e-12]), np.float32([0.1, 0.2, 0.3])):
        _, state = read(converted, values, 2.0)
        assert state.tobytes() == values.tobytes() + np.float64(2).tobytes()


@pytest.mark.parametrize(("space", "vectors", "cameras"), [
    (box(5), {"state": 5}, {}),
    (image(64, 64, 4), {}, {"pixels": (64, 64)}),
    (image(5), {"state": 5}, {}),
    (image(3, 3, 3), {"state": 27}, {}),
])  # fmt: skip
def test_a_box_alone(space, vectors, cameras):
    converted = ObservationSpace(space)
    assert (converted.vectors, converted.cameras) == (vectors, cameras)


@pytest.mark.parametrize(("space", "reason"), [
    (spaces.Text(5), "expected the observation as a Box or a Dict of Boxes, got Text"),
    (spaces.Dict(a=spaces.Sequence(box(1))), "expected observation 'a' as a Box or a Dict of Boxes, got Sequence"),
    (spaces.Discrete(3), "FlattenObservation"),
    (spaces.Tuple([box(1)]), "got Tuple"),
    (spaces.Dict({"a.b": box(1), "a": spaces.Dict(b=box(1))}), "two parts of the observation are called 'a.b'"),
    (box(0), "is empty"),
    (image(4, 84, 84), "looks like images"),
    (box(64, 64, 3, low=0, high=1), "looks like images"),
])  # fmt: skip
def test_what_cannot_be_represented_is_refused_in_one_line(space, reason):
    with pytest.raises(SetUpError, match=reason.replace("(", r"\(")) as error:
        ObservationSpace(space)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("observation", "reason"), [
    ([np.nan], "not finite"),
    ([2.0], "entry 0 of 'state' is 2, not in \\[-1, 1\\]"),
    ([0.0, 0.0], "expected observation 'state' of shape \\(1,\\)"),
    (["a"], "expected observation 'state'"),
])  # fmt: skip
def test_an_observation_outside_of_its_space_is_a_fault_of_the_environment(observation, reason):
    with pytest.raises(EpisodeError, match=reason):
        read(ObservationSpace(box(1, low=-1, high=1)), np.array(observation))


def test_bounds_hold_to_the_precision_of_float32():
    read(ObservationSpace(box(1, low=-0.1, high=0.1)), np.float32([0.1]))


def test_actions_of_odd_shapes_and_types_reach_the_environment_within_its_exact_bounds():
    space = spaces.Box(-0.1, 0.1, (2, 2), np.float64)
    actions = ActionSpace(space)
    assert actions.names == ["action.0.0", "action.0.1", "action.1.0", "action.1.1"]
    written = actions.write(actions.clip(np.float32([-1, 1, 0.05, 0.1])))
    assert written.shape == (2, 2)
    assert space.contains(written)
    whole = ActionSpace(spaces.Box(0, 9, (1,), np.int64))
    np.testing.assert_array_equal(whole.write(whole.clip(np.float32([3.7]))), [4])


@pytest.mark.parametrize("space", [spaces.Discrete(2), spaces.Dict(a=box(1)), box(0)])
def test_actions_that_are_no_box_are_refused(space):
    with pytest.raises(SetUpError, match="expected actions in a Box"):
        ActionSpace(space)
