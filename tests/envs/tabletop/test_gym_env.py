"""The single environment as a guest in Gymnasium's tools: time limits, options, actions, infos, messages."""

import gymnasium as gym
import numpy as np
import pytest

from envs.tabletop.gym_env import TaskEnv
from envs.tabletop.names import PICK_PLACE_LANGUAGE, REACH
from envs.tabletop.registration import find_task
from envs.tabletop.vector_env import TaskVectorEnv
from simscaleai.errors import SimScaleError, UnknownNameError

SEED = 3_000_000_300
STILL = np.zeros(4, np.float32)


def steps_until_the_end(env):
    """Return how many steps an idle episode takes, and which of its steps were truncated."""
    env.reset(seed=SEED)
    flags = []
    while not any(flags):
        _, _, terminated, truncated, info = env.step(STILL)
        assert not terminated
        flags.append(truncated)
    return len(flags), info


# Time limits


def test_the_specification_names_the_time_limit_of_the_task(env_id):
    limit = find_task(env_id).max_episode_steps
    assert gym.spec(env_id).max_episode_steps == limit
    assert gym.make(f"envs:{env_id}").spec.max_episode_steps == limit
    assert gym.make_vec(f"envs:{env_id}", 2).spec.max_episode_steps == limit


@pytest.mark.parametrize("limit", [None, 20, 80])
@pytest.mark.parametrize("way", ["make", "sync", "native", "class"])
def test_every_way_to_make_an_environment_keeps_a_time_limit_in_both_directions(limit, way):
    options = {} if limit is None else {"max_episode_steps": limit}
    if way in ("make", "class"):
        env = gym.make(f"envs:{REACH}", **options) if way == "make" else TaskEnv(REACH, **options)
        length, info = steps_until_the_end(env)
        assert info["failure"] in (["never_approached"] if limit != 20 or way == "class" else ["", "never_approached"])
    else:
        mode = {"vectorization_mode": "sync"} if way == "sync" else {}
        env, length, truncated = gym.make_vec(f"envs:{REACH}", 2, **mode, **options), 0, np.zeros(2, bool)
        env.reset(seed=SEED)
        while not truncated.any():
            *_, truncated, _ = env.step(np.zeros((2, 4), np.float32))
            length += 1
        assert truncated.all()
    assert length == (limit or 50)


def test_a_task_that_is_registered_without_a_time_limit_ends_its_episodes_itself():
    gym.register("Test/Nested-v0", entry_point=TaskEnv, kwargs={"env_id": REACH, "max_episode_steps": 7})
    try:
        assert steps_until_the_end(gym.make("Test/Nested-v0"))[0] == 7
    finally:
        del gym.registry["Test/Nested-v0"]


def test_a_longer_time_limit_changes_nothing_before_the_end():
    long, short = gym.make(f"envs:{REACH}", max_episode_steps=80), TaskEnv(REACH)
    long.reset(seed=SEED)
    short.reset(seed=SEED)
    for _ in range(49):
        left, right = long.step(STILL), short.step(STILL)
        np.testing.assert_array_equal(left[0]["state"], right[0]["state"])
        assert left[1:] == right[1:]


# Options and actions


@pytest.mark.parametrize("make", [TaskEnv, TaskVectorEnv])
def test_options_of_other_tools_are_ignored(make):
    env = make(PICK_PLACE_LANGUAGE)
    plain, _ = env.reset(seed=SEED)
    others = {"new_rollout": True, "mask": [1, 2], "init_state": None, 7: 8}
    given, info = env.reset(seed=SEED, options={**others, "target": "green"})
    np.testing.assert_array_equal(plain["state"], given["state"])
    assert np.all(info["target"] == "green")


@pytest.mark.parametrize("make", [TaskEnv, TaskVectorEnv])
@pytest.mark.parametrize(
    ("name", "meant"), [("traget", "target"), ("targets", "target"), ("instructon", "instruction")]
)
def test_a_misspelled_option_gets_the_one_that_was_meant(make, name, meant):
    with pytest.raises(UnknownNameError, match=f"Unknown reset option {name!r}. Did you mean {meant!r}"):
        make(PICK_PLACE_LANGUAGE).reset(options={name: "red"})


@pytest.mark.parametrize("size", [24, (24, 24), [24, 24], np.int64(24)])
@pytest.mark.parametrize("make", [TaskEnv, TaskVectorEnv])
def test_an_image_size_is_one_number_or_two(make, size):
    space = make(REACH, cameras=("front",), image_size=size).observation_space
    assert space["front"].shape[-3:] == (24, 24, 3)


@pytest.mark.parametrize("size", [0, 5000, "24", 24.5, (24,), (24, 24, 3), (24, 0), (24.0, 24.0), None])
def test_other_image_sizes_are_refused_in_one_line(size):
    with pytest.raises(SimScaleError, match=r"image_size must be one number or \(height, width\), each 1 to 4096 px"):
        TaskEnv(REACH, cameras=("front",), image_size=size)


@pytest.mark.parametrize("action", [[1, 0, -1, 0], (1.0, 0.0, -1.0, 0.0), np.array([1, 0, -1, 0])])
def test_an_action_may_be_a_list_or_integers(action):
    env, same = TaskEnv(REACH), TaskEnv(REACH)
    env.reset(seed=SEED)
    same.reset(seed=SEED)
    np.testing.assert_array_equal(env.step(action)[0]["state"], same.step(np.float32([1, 0, -1, 0]))[0]["state"])
    many = TaskVectorEnv(REACH, 2)
    many.reset(seed=[SEED, SEED])
    np.testing.assert_array_equal(
        many.step([action, action])[0]["state"][1], env.unwrapped.task_slots.task.state_vector()[0]
    )


@pytest.mark.parametrize(
    ("action", "got"),
    [
        (np.zeros(3, np.float32), "shape (3,) and dtype float32"),
        ([[0.0] * 4], "shape (1, 4)"),
        (["1"] * 4, "dtype <U1"),
        ([None] * 4, "dtype object"),
        ([1, [2, 3]], "list"),
        (np.zeros(4, complex), "complex128"),
        (0.5, "shape ()"),
    ],
)
def test_a_wrong_action_is_named(action, got):
    env = TaskEnv(REACH)
    env.reset(seed=SEED)
    with pytest.raises(SimScaleError, match=r"expected actions of shape \(4,\), real numbers, got ") as error:
        env.step(action)
    assert got in str(error.value)


# Messages and infos


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (lambda env: env.step(STILL), "^the environment runs no episode; call reset before step$"),
        (lambda env: env.reset(seed=-1), "^a seed must be an integer of at least 0 or None, got -1$"),
        (lambda env: env.reset(seed=1.5), "^a seed must be an integer of at least 0 or None, got 1.5$"),
        (lambda env: env.reset(options={"instruction": 5}), "^expected a text as start option 'instruction', got 5$"),
    ],
)
def test_messages_speak_of_one_environment(misuse, message):
    with pytest.raises(SimScaleError, match=message) as error:
        misuse(TaskEnv(REACH))
    assert "slot" not in str(error.value)


def test_a_step_after_the_end_says_what_to_do():
    env = TaskEnv(REACH, max_episode_steps=1)
    env.reset(seed=SEED)
    env.step(STILL)
    with pytest.raises(SimScaleError, match=r"^the environment runs no episode; call reset before step$"):
        env.step(STILL)


def test_a_seed_may_be_an_integer_of_numpy():
    env = TaskEnv(REACH)
    np.testing.assert_array_equal(env.reset(seed=np.int64(5))[0]["state"], env.reset(seed=5)[0]["state"])


def test_infos_have_the_same_keys_and_types_at_every_step(env_id):
    """Minari, torchrl and others store them in arrays: no None, and one type for each key."""
    env = TaskEnv(env_id, max_episode_steps=3)
    infos = [env.reset(seed=SEED)[1], *(env.step(STILL)[4] for _ in range(3)), env.reset()[1]]
    types = {key: type(value) for key, value in infos[0].items()}
    assert set(types.values()) <= {bool, str, float}
    for info in infos:
        assert {key: type(value) for key, value in info.items()} == types
    many = TaskVectorEnv(env_id, 2)
    _, info = many.reset(seed=SEED)
    assert {key: {type(value) for value in info[key].tolist()} for key in types} == {k: {t} for k, t in types.items()}


# The native vector environment


def test_the_native_vector_environment_answers_like_gymnasiums():
    env = gym.make_vec(f"envs:{REACH}", 3, render_mode="rgb_array", autoreset_mode="Disabled")
    env.reset(seed=SEED)
    assert env.metadata["autoreset_mode"] is env.autoreset_mode is gym.vector.AutoresetMode.DISABLED
    assert env.get_attr("render_mode") == ("rgb_array",) * 3
    assert env.get_attr("action_space") == (env.single_action_space,) * 3
    frames = env.call("render")
    assert [frame.shape for frame in frames] == [(480, 480, 3)] * 3
    env.set_attr("note", "mine")
    env.set_attr("note", ["mine"] * 3)
    assert env.get_attr("note") == ("mine",) * 3
    with pytest.raises(SimScaleError, match="the 3 slots share 'note'; expected one value for all"):
        env.set_attr("note", ["a", "b", "c"])
    with pytest.raises(SimScaleError, match=r"call reset\(\) instead"):
        env.call("reset")
    with pytest.raises(AttributeError, match="no_such_thing"):
        env.get_attr("no_such_thing")
