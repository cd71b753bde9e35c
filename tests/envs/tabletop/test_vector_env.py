"""Gymnasium's interfaces: the vector environment against N single ones, spaces, infos, autoreset, and misuse."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from envs.tabletop.gym_env import TaskEnv
from envs.tabletop.vector_env import TaskVectorEnv
from simscaleai.errors import SimScaleError

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


def test_gymnasium_checker_finds_nothing(env_id):
    env = gym.make(f"envs:{env_id}", render_mode="rgb_array", cameras=("front",), image_size=(32, 32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


def test_each_camera_has_a_key_of_its_own():
    options = {"cameras": ("front", "wrist"), "image_size": (40, 60)}
    single = gym.make("envs:SimScale/PickPlace-v0", **options)
    assert list(single.observation_space) == ["front", "state", "wrist"]
    observation, _ = single.reset(seed=0)
    assert {key: value.shape for key, value in observation.items()} == {
        "state": (18,),
        "front": (40, 60, 3),
        "wrist": (40, 60, 3),
    }
    many = gym.make_vec("envs:SimScale/PickPlace-v0", num_envs=2, **options)
    rows, _ = many.reset(seed=0)
    assert_same({key: value[0] for key, value in rows.items()}, observation)


def test_observations_stay_in_their_space_under_extreme_actions(env_id):
    env = TaskVectorEnv(env_id, 4, environment_state=True)
    env.action_space.seed(0)
    observation, _ = env.reset(seed=SEED)
    for _ in range(60):
        assert env.observation_space.contains(observation)
        observation, *_ = env.step(np.sign(env.action_space.sample()).astype(np.float32))


def test_observations_of_two_calls_share_no_memory(env_id):
    env = TaskVectorEnv(env_id, 2, environment_state=True)
    first, first_info = env.reset(seed=SEED)
    kept = {key: rows.copy() for key, rows in first.items()}
    _, *_, info = env.step(np.ones((2, 4), dtype=np.float32))
    assert all((first[key] == kept[key]).all() for key in kept)
    assert not any(np.shares_memory(first_info[key], info[key]) for key in first_info)


def test_resets_are_seeded_and_varied(env_id):
    env = TaskVectorEnv(env_id, 3, environment_state=True)
    first, _ = env.reset(seed=[SEED, SEED + 1, SEED])
    again, _ = env.reset(seed=[SEED, SEED + 1, SEED])
    for key, rows in first.items():
        np.testing.assert_array_equal(rows, again[key])
        np.testing.assert_array_equal(rows[0], rows[2])
        assert (rows[0] != rows[1]).any()


def test_no_episode_begins_solved_or_failed(env_id):
    env = TaskVectorEnv(env_id, 100)
    _, info = env.reset(seed=SEED)
    assert not info["success"].any()
    assert set(info["stage"]) == {"start"}
    assert set(info["failure"]) == {""}


def test_vector_equals_singles_bit_for_bit(env_id):
    num_envs, actions = 5, random_actions(15, 5)
    options = {"cameras": ("wrist",), "image_size": (32, 32)}
    vectors = [disabled(env_id, num_envs, num_threads=number, **options) for number in (1, 2)]
    options["environment_state"] = True
    singles = [gym.make(env_id, disable_env_checker=True, **options) for _ in range(num_envs)]

    def row_of(values, slot):
        return {key: value[slot] for key, value in values.items() if not key.startswith("_")}

    begun = [vector.reset(seed=SEED) for vector in vectors]
    for slot, single in enumerate(singles):
        row, single_info = single.reset(seed=SEED + slot)
        for rows, info in begun:
            assert_same(row_of(rows, slot), row)
            assert row_of(info, slot) == single_info
    for action in actions:
        done = [vector.step(action) for vector in vectors]
        for slot, single in enumerate(singles):
            row, single_reward, *ends, single_info = single.step(action[slot])
            for rows, reward, terminated, truncated, info in done:
                assert_same(row_of(rows, slot), row)
                assert (reward[slot], terminated[slot], truncated[slot]) == (single_reward, *ends)
                assert row_of(info, slot) == single_info


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_autoreset_equals_gymnasiums_sync_vector_env(mode):
    env_id, num_envs = "SimScale/Reach-v0", 3
    options = {"max_episode_steps": 7, "environment_state": True, "cameras": ("front",), "image_size": (16, 16)}
    native = gym.make_vec(env_id, num_envs, autoreset_mode=mode, **options)
    makers = [lambda: TaskEnv(env_id, **options)] * num_envs
    reference = SyncVectorEnv(makers, autoreset_mode=mode)
    assert_same(native.reset(seed=SEED)[0], reference.reset(seed=SEED)[0])
    for action in random_actions(30, num_envs):
        left, right = native.step(action.clip(-1, 1)), reference.step(action.clip(-1, 1))
        assert_same(left[0], right[0])
        for ours, theirs in zip(left[1:4], right[1:4], strict=True):
            np.testing.assert_array_equal(ours, theirs)
        for key in ("success", "failure", "stage", "instruction", "distance_ee_goal"):
            np.testing.assert_array_equal(left[4][key], right[4][key], err_msg=key)
        if "final_obs" in right[4]:
            np.testing.assert_array_equal(left[4]["_final_obs"], right[4]["_final_obs"])
            for slot in np.flatnonzero(right[4]["_final_obs"]):
                assert_same(left[4]["final_obs"][slot], right[4]["final_obs"][slot])
            np.testing.assert_array_equal(left[4]["final_info"]["_success"], right[4]["final_info"]["_success"])
            ended = right[4]["_final_info"]
            for key in ("success", "failure", "stage"):
                ours, theirs = left[4]["final_info"][key], right[4]["final_info"][key]
                np.testing.assert_array_equal(ours[ended], theirs[ended])


def test_slots_that_end_apart_renew_apart():
    """With a different time to the end in each slot, NEXT_STEP resets one while the others take a control step."""
    env = TaskVectorEnv("SimScale/Reach-v0", 2, max_episode_steps=4)
    env.reset(seed=SEED)
    zeros = np.zeros((2, 4), np.float32)
    env.step(zeros)
    env.reset(seed=[None, SEED + 5], options={"reset_mask": np.array([False, True])})
    ends = []
    for _ in range(6):
        _, _, terminated, truncated, info = env.step(zeros)
        assert not terminated.any()
        ends.append((truncated.tolist(), info["failure"].tolist()))
    lost = "never_approached"
    assert [flags for flags, _ in ends] == [
        [False, False],
        [False, False],
        [True, False],
        [False, True],
        [False, False],
        [False, False],
    ]
    assert [words for _, words in ends][2:5] == [[lost, ""], ["", lost], ["", ""]]


def test_make_vec_gives_the_native_environment(env_id):
    assert isinstance(gym.make_vec(env_id, 2), TaskVectorEnv)


def test_the_specification_has_the_time_limit_and_makes_the_same_environment_again():
    spec = gym.make_vec("SimScale/Reach-v0", 2, max_episode_steps=80).spec
    assert spec.max_episode_steps == 80
    assert gym.make_vec(spec, 2).task_slots.spec.max_episode_steps == 80


@pytest.mark.parametrize(
    "seed", [np.uint8(250), np.arange(250, 258), list(np.arange(250, 258)), tuple(range(250, 258))]
)
def test_seeds_may_be_integers_and_arrays_of_numpy(seed):
    expected = disabled("SimScale/Reach-v0", 8).reset(seed=250)[0]["state"]
    np.testing.assert_array_equal(disabled("SimScale/Reach-v0", 8).reset(seed=seed)[0]["state"], expected)


def test_attributes_may_be_arrays():
    env = disabled("SimScale/Reach-v0", 2)
    env.set_attr("weights", [np.zeros(3), np.zeros(3)])
    np.testing.assert_array_equal(env.get_attr("weights")[1], np.zeros(3))
    with pytest.raises(SimScaleError, match="expected one value for all"):
        env.set_attr("weights", [np.zeros(3), np.ones(3)])


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


def test_an_action_that_is_not_finite_ends_its_slot_and_no_other():
    env, healthy = disabled(LANGUAGE, 3), disabled(LANGUAGE, 3)
    env.reset(seed=SEED)
    healthy.reset(seed=SEED)
    (action,) = random_actions(1, 3)
    sent = action.copy()
    sent[1, 2] = np.nan
    rows, reward, terminated, truncated, info = env.step(sent)
    expected, *_ = healthy.step(action)
    assert terminated.tolist() == [False, True, False]
    assert not truncated.any()
    assert info["failure"].tolist() == ["", "invalid_action", ""]
    assert reward[1] == 0.0
    for key in rows:
        np.testing.assert_array_equal(rows[key][[0, 2]], expected[key][[0, 2]])
    with pytest.raises(SimScaleError, match=r"slots \[1\] have ended"):
        env.step(action)
    renewed, _ = env.reset(seed=[None, SEED + 1, None], options={"reset_mask": np.array([False, True, False])})
    np.testing.assert_array_equal(renewed["state"][1], disabled(LANGUAGE, 1).reset(seed=SEED + 1)[0]["state"][0])


def test_actions_beyond_one_are_clipped_whatever_their_precision():
    plain, wild = disabled("SimScale/Reach-v0", 1), disabled("SimScale/Reach-v0", 1)
    plain.reset(seed=SEED)
    wild.reset(seed=SEED)
    assert_same(plain.step(np.ones((1, 4), np.float32))[0], wild.step(np.full((1, 4), 50.0))[0])


@pytest.mark.parametrize(
    ("actions", "came"),
    [
        (np.zeros((3, 4), np.float32), "(3, 4)"),
        (np.zeros((2, 5), np.float32), "(2, 5)"),
        (np.zeros((2, 4), dtype=bool), "bool"),
        ([[0.0] * 4] * 3, "(3, 4)"),
        ([[0.0] * 4, [0.0] * 3], "list"),
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
        ({"reward": "spars"}, "Did you mean 'sparse'"),
        ({"render_mode": "human"}, "Unknown render_mode 'human'"),
    ],
)
@pytest.mark.parametrize("kind", [TaskEnv, TaskVectorEnv])
def test_impossible_arguments_are_refused(kind, options, message):
    with pytest.raises(SimScaleError, match=message):
        kind("SimScale/Reach-v0", **options)


def test_impossible_arguments_of_the_vector_are_refused():
    with pytest.raises(SimScaleError, match="Did you mean 'SameStep'"):
        TaskVectorEnv("SimScale/Reach-v0", autoreset_mode="SameStap")
    with pytest.raises(SimScaleError, match="at least 1 slot, got 0"):
        TaskVectorEnv("SimScale/Reach-v0", 0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"seed": 1.5},
        {"seed": np.array([1.5, 2.5])},
        {"seed": -1},
        {"seed": [1, "2"]},
        {"options": {"instruction": 5}},
        {"options": {"target": [5, 6]}},
    ],
)
def test_impossible_resets_are_refused(arguments):
    with pytest.raises(SimScaleError):
        TaskVectorEnv(LANGUAGE, 2).reset(**arguments)


@pytest.mark.parametrize("options", [{"target": "pink"}, {"traget": "red"}, {"instruction": 5}])
def test_impossible_options_of_a_single_reset_are_refused(options):
    with pytest.raises(SimScaleError):
        TaskEnv(LANGUAGE).reset(seed=SEED, options=options)


def test_a_refused_reset_leaves_nothing_that_could_be_stepped():
    env = disabled(LANGUAGE, 2)
    env.reset(seed=SEED)
    with pytest.raises(SimScaleError, match="target 'pink'"):
        env.reset(seed=SEED, options={"target": ["blue", "pink"]})
    with pytest.raises(SimScaleError, match="call reset"):
        env.step(np.zeros((2, 4), np.float32))


def test_a_single_environment_draws_its_own_seeds_after_the_first():
    env, same, other = TaskEnv(LANGUAGE), TaskEnv(LANGUAGE), TaskEnv(LANGUAGE)
    for each, seed in ((env, 1), (same, 1), (other, 2)):
        each.reset(seed=seed)
    states = [each.reset()[0]["state"] for each in (env, same, other, env)]
    np.testing.assert_array_equal(states[0], states[1])
    assert (states[0] != states[2]).any()
    assert (states[0] != states[3]).any()


def test_large_images_are_drawn():
    env = TaskVectorEnv("SimScale/Reach-v0", 1, cameras=("front",), image_size=(1400, 1300))
    assert env.reset(seed=SEED)[0]["front"].shape == (1, 1400, 1300, 3)


def test_render_gives_a_picture_of_each_slot_or_nothing():
    assert TaskVectorEnv("SimScale/Reach-v0", 2).render() is None
    assert TaskEnv("SimScale/Reach-v0").render() is None
    vector = TaskVectorEnv("SimScale/Reach-v0", 2, render_mode="rgb_array")
    vector.reset(seed=SEED)
    single = TaskEnv("SimScale/Reach-v0", render_mode="rgb_array")
    single.reset(seed=SEED + 1)
    frames = vector.render()
    assert [frame.shape for frame in frames] == [(480, 480, 3)] * 2
    np.testing.assert_array_equal(frames[1], single.render())
    vector.close()
    single.close()


def test_a_cube_that_falls_off_the_table_is_no_divergence():
    env = disabled(LANGUAGE, 1, max_episode_steps=250)
    env.reset(seed=SEED)
    simulation = env.task_slots.simulation
    simulation.free_bodies(["cube_red"])[0][0, 0, 0] = 1.2
    simulation.forward(np.ones(1, dtype=bool))
    for _ in range(250):
        observation, _, terminated, truncated, info = env.step(np.zeros((1, 4), np.float32))
    assert env.observation_space.contains(observation)
    assert (terminated[0], truncated[0]) == (False, True)
    assert info["failure"][0] == "never_approached"
