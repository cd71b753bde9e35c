"""The vector environment against N single ones, and the isolation of its slots."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from envs.gym_env import TaskEnv
from envs.interface import SimScaleError
from envs.vector_env import TaskVectorEnv

SEED = 3_000_000_000
LANGUAGE = "SimScale/PickPlaceLanguage-v0"


def random_actions(steps, num_envs, seed=0):
    return np.random.default_rng(seed).uniform(-1.2, 1.2, (steps, num_envs, 4)).astype(np.float32)


def assert_same(left, right):
    assert left.keys() == right.keys()
    for key in left:
        np.testing.assert_array_equal(left[key], right[key], err_msg=key)


def disabled(env_id, num_envs, **options):
    return TaskVectorEnv(env_id, num_envs, environment_state=True, autoreset_mode=AutoresetMode.DISABLED, **options)


@pytest.mark.parametrize("num_threads", [1, 2])
def test_vector_equals_singles_bit_for_bit(env_id, num_threads):
    num_envs, actions = 5, random_actions(25, 5)
    vector = disabled(env_id, num_envs, num_threads=num_threads, cameras=("wrist",), image_size=(32, 32))
    options = {"environment_state": True, "cameras": ("wrist",), "image_size": (32, 32)}
    singles = [gym.make(env_id, disable_env_checker=True, **options) for _ in range(num_envs)]
    rows, _ = vector.reset(seed=SEED)
    for slot, single in enumerate(singles):
        assert_same({key: value[slot] for key, value in rows.items()}, single.reset(seed=SEED + slot)[0])
    for action in actions:
        rows, reward, terminated, truncated, info = vector.step(action)
        for slot, single in enumerate(singles):
            row, single_reward, *ends, single_info = single.step(action[slot])
            assert_same({key: value[slot] for key, value in rows.items()}, row)
            assert (reward[slot], terminated[slot], truncated[slot]) == (single_reward, *ends)
            assert info["success"][slot] == single_info["success"]


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_autoreset_equals_gymnasiums_sync_vector_env(mode):
    env_id, num_envs = "SimScale/Reach-v0", 3
    options = {"max_episode_steps": 7, "environment_state": True}
    native = gym.make_vec(env_id, num_envs, autoreset_mode=mode, **options)
    makers = [lambda: TaskEnv(env_id, **options)] * num_envs
    reference = SyncVectorEnv(makers, autoreset_mode=mode)
    assert_same(native.reset(seed=SEED)[0], reference.reset(seed=SEED)[0])
    for action in random_actions(30, num_envs):
        left, right = native.step(action.clip(-1, 1)), reference.step(action.clip(-1, 1))
        assert_same(left[0], right[0])
        for ours, theirs in zip(left[1:4], right[1:4], strict=True):
            np.testing.assert_array_equal(ours, theirs)
        if "final_obs" in right[4]:
            np.testing.assert_array_equal(left[4]["_final_obs"], right[4]["_final_obs"])
            for slot in np.flatnonzero(right[4]["_final_obs"]):
                assert_same(left[4]["final_obs"][slot], right[4]["final_obs"][slot])
            np.testing.assert_array_equal(left[4]["final_info"]["_success"], right[4]["final_info"]["_success"])
            ended = right[4]["_final_info"]
            for key in ("success", "failure", "stage"):
                ours, theirs = left[4]["final_info"][key], right[4]["final_info"][key]
                np.testing.assert_array_equal(ours[ended], theirs[ended])


def test_make_vec_gives_the_native_environment(env_id):
    assert isinstance(gym.make_vec(env_id, 2), TaskVectorEnv)


def test_inactive_slots_hold_and_active_ones_do_not_notice():
    actions, mask = random_actions(12, 3), np.array([True, False, True])
    some, all_of_them = disabled(LANGUAGE, 3), disabled(LANGUAGE, 3)
    before, _ = some.reset(seed=SEED)
    all_of_them.reset(seed=SEED)
    for action in actions:
        observation, reward, terminated, truncated, _ = some.step(action, active=mask)
        expected, *_ = all_of_them.step(action)
        assert not (reward[1])
        assert not (terminated[1])
        assert not (truncated[1])
        for key in observation:
            np.testing.assert_array_equal(observation[key][1], before[key][1])
            np.testing.assert_array_equal(observation[key][mask], expected[key][mask])


def test_a_partial_reset_leaves_the_other_slots_alone():
    actions = random_actions(10, 3)
    env, untouched = disabled(LANGUAGE, 3), disabled(LANGUAGE, 3)
    env.reset(seed=SEED)
    untouched.reset(seed=SEED)
    for step, action in enumerate(actions):
        if step == 4:
            env.reset(seed=[None, SEED + 77, None], options={"reset_mask": np.array([False, True, False])})
        left, right = env.step(action)[0], untouched.step(action)[0]
        for key in left:
            np.testing.assert_array_equal(left[key][[0, 2]], right[key][[0, 2]])
    assert (left["state"][1] != right["state"][1]).any()


@pytest.mark.parametrize("fault", ["invalid_action", "diverged"])
def test_a_fault_ends_its_slot_and_no_other(fault):
    actions = random_actions(15, 3)
    env, healthy = disabled(LANGUAGE, 3), disabled(LANGUAGE, 3)
    env.reset(seed=SEED)
    healthy.reset(seed=SEED)
    active = np.ones(3, dtype=bool)
    for step, action in enumerate(actions):
        sent = action.copy()
        if step == 5 and fault == "invalid_action":
            sent[1, 2] = np.nan
        if step == 5 and fault == "diverged":
            env._simulation.qvel[1, 3] = 1e12
        rows, reward, terminated, _, info = env.step(sent, active=active)
        expected, expected_reward, *_ = healthy.step(action)
        if step == 5:
            assert terminated.tolist() == [False, True, False]
            assert info["failure"][1] == fault
            assert reward[1] == 0.0
            active = ~terminated
        for key in rows:
            assert np.isfinite(rows[key]).all() or fault == "diverged"
            np.testing.assert_array_equal(rows[key][[0, 2]], expected[key][[0, 2]])
        np.testing.assert_array_equal(reward[[0, 2]], expected_reward[[0, 2]])
    renewed, _ = env.reset(seed=[None, SEED + 1, None], options={"reset_mask": np.array([False, True, False])})
    np.testing.assert_array_equal(renewed["state"][1], disabled(LANGUAGE, 1).reset(seed=SEED + 1)[0]["state"][0])


def test_actions_beyond_one_are_clipped():
    plain, wild = disabled("SimScale/Reach-v0", 1), disabled("SimScale/Reach-v0", 1)
    plain.reset(seed=SEED)
    wild.reset(seed=SEED)
    assert_same(plain.step(np.ones((1, 4), np.float32))[0], wild.step(np.full((1, 4), 50.0, np.float32))[0])
    np.testing.assert_array_equal(wild.executed_actions, np.ones((1, 4)))


@pytest.mark.parametrize(
    ("actions", "came"),
    [
        (np.zeros((3, 4), np.float32), "(3, 4)"),
        (np.zeros((2, 5), np.float32), "(2, 5)"),
        (np.zeros((2, 4), np.int64), "int64"),
        ([[0.0] * 4] * 2, "list"),
    ],
)
def test_wrong_actions_are_named(actions, came):
    env = TaskVectorEnv("SimScale/Reach-v0", 2)
    env.reset(seed=SEED)
    with pytest.raises(SimScaleError, match=r"expected actions of shape \(2, 4\)") as error:
        env.step(actions)
    assert came in str(error.value)


def test_misuse_is_explained():
    env = disabled("SimScale/Reach-v0", 2, max_episode_steps=1)
    zeros = np.zeros((2, 4), np.float32)
    with pytest.raises(SimScaleError, match="before the first reset"):
        env.step(zeros)
    with pytest.raises(SimScaleError, match="must cover every slot"):
        env.reset(seed=SEED, options={"reset_mask": np.array([True, False])})
    env.reset(seed=SEED)
    env.step(zeros)
    with pytest.raises(SimScaleError, match=r"slots \[0, 1\] have ended"):
        env.step(zeros)
    with pytest.raises(SimScaleError, match="reset_mask must be a bool array"):
        env.reset(options={"reset_mask": np.array([1, 0])})
    with pytest.raises(SimScaleError, match=r"Unknown reset option 'traget'.*Did you mean 'target'"):
        env.reset(options={"traget": "red"})
    with pytest.raises(SimScaleError, match="2 seeds"):
        env.reset(seed=[1, 2, 3])
    with pytest.raises(SimScaleError, match="Unknown camera 'top'"):
        TaskVectorEnv("SimScale/Reach-v0", 1, cameras=("top",))
    with pytest.raises(
        SimScaleError, match=r"Unknown environment 'SimScale/Raech-v0'.*Did you mean 'SimScale/Reach-v0'"
    ):
        TaskVectorEnv("SimScale/Raech-v0", 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cameras": "front"}, "sequence of names"),
        ({"image_size": (0, 64)}, "each 1 to 4096 px"),
        ({"max_episode_steps": 0}, "at least 1, got 0"),
        ({"autoreset_mode": "SameStap"}, "Did you mean 'SameStep'"),
        ({"reward": "spars"}, "Did you mean 'sparse'"),
        ({"num_envs": 0}, "num_envs must be at least 1"),
    ],
)
def test_impossible_arguments_are_refused(options, message):
    with pytest.raises(SimScaleError, match=message):
        TaskVectorEnv("SimScale/Reach-v0", **options)


@pytest.mark.parametrize(
    "arguments",
    [{"seed": 1.5}, {"seed": -1}, {"seed": [1, "2"]}, {"options": {"instruction": 5}}, {"options": {"target": [5, 6]}}],
)
def test_impossible_resets_are_refused(arguments):
    with pytest.raises(SimScaleError):
        TaskVectorEnv(LANGUAGE, 2).reset(**arguments)


def test_a_refused_reset_leaves_nothing_that_could_be_stepped():
    env = disabled(LANGUAGE, 2)
    env.reset(seed=SEED)
    with pytest.raises(SimScaleError, match="target 'pink'"):
        env.reset(seed=SEED, options={"target": ["blue", "pink"]})
    with pytest.raises(SimScaleError, match="call reset"):
        env.step(np.zeros((2, 4), np.float32))


def test_large_images_are_drawn():
    env = TaskVectorEnv("SimScale/Reach-v0", 1, cameras=("front",), image_size=(1400, 1300))
    assert env.reset(seed=SEED)[0]["image"].shape == (1, 1400, 1300, 3)


def test_drawing_without_cameras_or_by_ids_is_refused():
    env = disabled("SimScale/Reach-v0", 2)
    env.reset(seed=SEED)
    with pytest.raises(SimScaleError, match="no cameras"):
        env.render_images(np.ones(2, dtype=bool))
    seeing = disabled("SimScale/Reach-v0", 2, cameras=("front",), images_on_request=True)
    with pytest.raises(SimScaleError, match="bool array"):
        seeing.render_images(np.array([0, 1]))


def test_a_cube_that_falls_off_the_table_is_no_divergence():
    env = disabled(LANGUAGE, 1, max_episode_steps=250)
    env.reset(seed=SEED)
    env._simulation.free_body("cube_red")[0][0, 0] = 1.2
    env._simulation.forward(np.ones(1, dtype=bool))
    for _ in range(250):
        observation, _, terminated, truncated, info = env.step(np.zeros((1, 4), np.float32))
    assert env.observation_space.contains(observation)
    assert (terminated[0], truncated[0]) == (False, True)
    assert info["failure"][0] == "never_approached"


def test_images_belong_to_their_slot_and_cameras_stack():
    both = disabled(LANGUAGE, 3, cameras=("front", "wrist"), image_size=(48, 48), images_on_request=True)
    observation, _ = both.reset(seed=SEED)
    assert "image" not in observation
    images = both.render_images(np.array([True, False, True]))
    assert not images[1].any()
    single = disabled(LANGUAGE, 1, cameras=("wrist",), image_size=(48, 48))
    np.testing.assert_array_equal(images[2][..., 3:], single.reset(seed=SEED + 2)[0]["image"][0])


def test_rendering_changes_nothing():
    silent, filmed = disabled(LANGUAGE, 1), disabled(LANGUAGE, 1)
    silent.reset(seed=SEED)
    filmed.reset(seed=SEED)
    for action in random_actions(5, 1):
        frame = filmed.render_frame(0, size=(64, 96))
        assert frame.shape == (64, 96, 3)
        assert frame.std() > 10
        assert_same(silent.step(action)[0], filmed.step(action)[0])
    np.testing.assert_array_equal(silent.qpos, filmed.qpos)


def test_a_step_in_which_nothing_runs_hands_out_arrays_of_its_own(cube_env_id):
    env, none = disabled(cube_env_id, 2), np.zeros(2, dtype=bool)
    env.reset(seed=SEED)
    observation, *_, info = env.step(random_actions(1, 2)[0], active=none)
    later, *_, later_info = env.step(random_actions(1, 2)[0], active=none)
    assert not any(np.shares_memory(observation[key], later[key]) for key in observation)
    assert not any(np.shares_memory(info[key], later_info[key]) for key in info)
