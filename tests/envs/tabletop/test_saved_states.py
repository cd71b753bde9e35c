"""Saving, restoring, copying and pickling environments: an episode goes on bit for bit."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest

from envs.tabletop.gym_env import TaskEnv
from envs.tabletop.names import PICK_PLACE, PICK_PLACE_LANGUAGE, REACH
from envs.tabletop.registration import find_task
from envs.tabletop.task_slots import TaskSlots
from envs.tabletop.vector_env import TaskVectorEnv
from policies.scripted.experts import EXPERTS
from simscaleai.errors import SimScaleError

SEED = 3_000_000_400
OPTIONS = {"environment_state": True, "reward": "dense", "terminate_on_success": False}


def options_for(env_id):
    """Return `OPTIONS` with a reward that the task offers."""
    return OPTIONS | {"reward": find_task(env_id).rewards[-1]}


def go_on(env, steps, expert=None, observation=None):
    """Step on with the expert, or with random actions; return everything that the environment said."""
    rng, said = np.random.default_rng(1), []
    for _ in range(steps):
        if expert is None:
            action = rng.uniform(-1, 1, 4).astype(np.float32)
        else:
            rows = {key: value[None] for key, value in observation.items()}
            action = expert.act({"state": env.unwrapped.task_slots.task.state_vector(), **rows})[0]
        observation, reward, terminated, truncated, info = env.step(action)
        slots = env.unwrapped.task_slots
        said.append((slots.state(np.arange(1)), in_bytes(observation), reward, terminated, truncated, info))
        if truncated:
            observation, info = env.reset()
            said.append((in_bytes(observation), info))
    return said, observation


def in_bytes(observation):
    return [value.tobytes() for value in observation.values()]


def begin(env_id, steps, make=TaskEnv, **options):
    """Return an environment in the middle of an expert's episode, the expert and the present observation."""
    env = make(env_id, **options_for(env_id), **options)
    expert = EXPERTS[env_id](env.unwrapped.task_slots.spec)
    observation, _ = env.reset(seed=SEED)
    return env, expert, go_on(env, steps, expert, observation)[1]


@pytest.mark.parametrize("steps", [0, 1, 25, 60])
def test_a_restored_state_goes_on_bit_for_bit_into_the_next_episodes(env_id, steps):
    env, expert, observation = begin(env_id, steps, max_episode_steps=65)
    saved = pickle.loads(pickle.dumps(env.get_state()))  # noqa: S301
    expected, _ = go_on(env, 75, expert, observation)
    other = TaskEnv(env_id, **options_for(env_id), max_episode_steps=65)
    for target in (env, other):
        target.reset(seed=9)
        go_on(target, 3)
        target.set_state(saved)
        assert go_on(target, 75, expert, observation)[0] == expected


@pytest.mark.parametrize("how", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])  # noqa: S301
@pytest.mark.parametrize("make", [TaskEnv, lambda env_id, **options: gym.make(f"envs:{env_id}", **options)])
def test_a_copy_goes_on_bit_for_bit_and_neither_disturbs_the_other(how, make):
    env, expert, observation = begin(PICK_PLACE_LANGUAGE, 40, make)
    copied, disturbed = how(env), how(env)
    go_on(disturbed, 5)
    expected = go_on(env, 170, expert, observation)
    assert go_on(copied, 170, expert, observation)[0] == expected[0]


def test_an_environment_that_has_drawn_is_copied_and_draws_the_same():
    env = TaskEnv(REACH, cameras=("front",), image_size=32, render_mode="rgb_array")
    env.reset(seed=SEED)
    frame = env.render()
    copied = copy.deepcopy(env)
    np.testing.assert_array_equal(copied.render(), frame)
    action = np.ones(4)
    np.testing.assert_array_equal(copied.step(action)[0]["front"], env.step(action)[0]["front"])


def test_an_environment_that_was_never_reset_is_copied():
    copied = copy.deepcopy(TaskEnv(REACH))
    with pytest.raises(SimScaleError, match="call reset"):
        copied.step(np.zeros(4))
    copied.reset(seed=SEED)


def test_a_vector_environment_is_copied_in_the_middle_of_its_episodes(env_id):
    env = TaskVectorEnv(env_id, 4, max_episode_steps=6, num_threads=2, **options_for(env_id))
    env.reset(seed=SEED)
    actions = np.random.default_rng(0).uniform(-1, 1, (15, 4, 4)).astype(np.float32)
    for action in actions[:4]:
        env.step(action)
    copied = copy.deepcopy(env)
    for action in actions[4:]:
        left, right = env.step(action), copied.step(action)
        for key in left[0]:
            np.testing.assert_array_equal(left[0][key], right[0][key])
        for ours, theirs in zip(left[1:4], right[1:4], strict=True):
            np.testing.assert_array_equal(ours, theirs)
        for key in left[4]:
            np.testing.assert_array_equal(left[4][key], right[4][key], err_msg=key)


def test_a_saved_slot_goes_on_in_another_slot_and_the_others_do_not_notice():
    few, many = (TaskVectorEnv(PICK_PLACE, n, **OPTIONS).task_slots for n in (2, 5))
    envs = [TaskVectorEnv(PICK_PLACE, n, autoreset_mode="Disabled", **OPTIONS) for n in (2, 5)]
    for env in envs:
        env.reset(seed=SEED)
    few, many = (env.task_slots for env in envs)
    action = np.full((1, 4), 0.3, np.float32)
    few.step(np.array([1]), action)
    before = many.state(np.array([0, 1, 2, 4]))
    many.restore(np.array([3]), few.save(np.array([1])))
    assert many.state(np.array([0, 1, 2, 4])) == before
    for _ in range(5):
        left, right = few.step(np.array([1]), action), many.step(np.array([3]), action)
        assert few.state(np.array([1])) == many.state(np.array([3]))
        assert (left.reward, left.stage) == (right.reward, right.stage)


def test_a_diverged_slot_goes_on_from_a_saved_state():
    env, healthy = TaskEnv(PICK_PLACE), TaskEnv(PICK_PLACE)
    for each in (env, healthy):
        each.reset(seed=SEED)
    saved = env.get_state()
    env.task_slots.simulation.qvel[0, 3] = 1e12
    assert env.step(np.zeros(4))[4]["failure"] == "diverged"
    env.set_state(saved)
    assert go_on(env, 20)[0] == go_on(healthy, 20)[0]


def test_a_state_of_another_task_is_refused_with_both_names():
    env, other = TaskEnv(REACH), TaskEnv(PICK_PLACE)
    env.reset(seed=SEED)
    other.reset(seed=SEED)
    with pytest.raises(SimScaleError, match=f"expected a state of .*{PICK_PLACE}.*, got one of .*{REACH}"):
        other.set_state(env.get_state())


def test_episode_arrays_cover_everything_that_a_task_stores(env_id):
    """Compares all arrays of two tasks: one that ran the episode, and one that was given the saved state."""
    env, other = (TaskSlots(env_id, find_task(env_id), 3) for _ in range(2))
    from envs.slots import Start

    slots = np.arange(3)
    env.reset(slots, [Start(SEED + slot) for slot in range(3)])
    for _ in range(10):
        env.step(slots, np.float32([[0.5, 0.2, -1, -1]] * 3))
    other.restore(slots, env.save(slots))
    arrays = {name: value for name, value in vars(env.task).items() if isinstance(value, np.ndarray)}
    assert len(arrays) > 3
    for name, value in arrays.items():
        np.testing.assert_array_equal(getattr(other.task, name), value, err_msg=name)
