"""What tasks draw, what counts as success, and why episodes fail."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from envs.interface import SimScaleError
from envs.pick_place import CUBE_HALF, SEPARATION
from envs.vector_env import TaskVectorEnv
from policies.scripted import EXPERTS

SEED = 3_000_000_000
PICK_PLACE, LANGUAGE = "SimScale/PickPlace-v0", "SimScale/PickPlaceLanguage-v0"
HOLD = np.array([[0.0, 0.0, 0.0, 1.0]], dtype=np.float32)


def make(env_id, num_envs=1, **options):
    return TaskVectorEnv(env_id, num_envs, environment_state=True, autoreset_mode=AutoresetMode.DISABLED, **options)


def cubes_and_goal(env, observation):
    layout, truth = env.contract.environment_state, observation["environment_state"]
    names = [feature.name for feature in layout.features if feature.name.endswith("position")]
    if env.env_id == LANGUAGE:  # the cube to move is one of the coloured ones
        names = [*(name for name in names if name.endswith("_cube_position")), "goal_position"]
    return np.stack([layout.get(truth, name)[:, :2] for name in names], axis=1)


def place_cube(env, position, colour="red"):
    """Put the cube at `position`, at rest, upright."""
    pose, velocity = env._simulation.free_body(f"cube_{colour}")
    pose[0], velocity[0] = [*position, 1.0, 0.0, 0.0, 0.0], 0.0
    env._simulation.forward(np.ones(1, dtype=bool))


def act_as_expert(env, observation, *, until, steps=60):
    """Let the expert act until `until(info)`; return the last observation and info."""
    expert = EXPERTS[env.env_id](env.contract)
    for _ in range(steps):
        observation, *_, info = env.step(expert.act(observation, np.arange(1)))
        if until(info):
            return observation, info
    raise AssertionError("the expert did not get there")


def test_cubes_and_goal_start_apart_within_the_work_area(cube_env_id):
    env = make(cube_env_id, 300)
    places = cubes_and_goal(env, env.reset(seed=SEED)[0])
    distances = np.linalg.norm(places[:, :, None] - places[:, None], axis=-1)
    assert distances[:, *np.triu_indices(places.shape[1], 1)].min() >= SEPARATION - 1e-6
    assert (places >= np.float32([0.40, -0.18]) - 1e-6).all()
    assert (places <= np.float32([0.60, 0.18]) + 1e-6).all()
    assert (np.ptp(places, axis=0) > [0.15, 0.3]).all()


def test_the_same_scene_runs_with_all_three_targets():
    env = make(LANGUAGE, 3)
    observation, info = env.reset(seed=[SEED] * 3, options={"target": ["red", "green", "blue"]})
    layout, truth = env.contract.environment_state, observation["environment_state"]
    cubes = np.stack([layout.get(truth, f"{colour}_cube_position") for colour in ("red", "green", "blue")])
    np.testing.assert_array_equal(cubes, cubes[:, [0] * 3])
    np.testing.assert_array_equal(layout.get(truth, "cube_position"), cubes[[0, 1, 2], [0, 1, 2]])
    np.testing.assert_array_equal(layout.get(truth, "target"), np.eye(3))
    assert all(colour in text for colour, text in zip(["red", "green", "blue"], info["instruction"], strict=True))
    assert (
        len({text.replace(colour, "") for text, colour in zip(info["instruction"], info["target"], strict=True)}) == 1
    )


def test_an_instruction_can_be_given_and_an_unknown_target_is_named():
    env = make(LANGUAGE)
    _, info = env.reset(seed=SEED, options={"instruction": "tidy up the green thing", "target": "green"})
    assert info["instruction"][0] == "tidy up the green thing"
    with pytest.raises(SimScaleError, match=r"Unknown target 'pink'.*red, green, blue"):
        env.reset(seed=SEED, options={"target": "pink"})


def test_an_empty_instruction_stays_empty(env_id):
    assert make(env_id).reset(seed=SEED, options={"instruction": ""})[1]["instruction"][0] == ""


def test_targets_wordings_and_colours_are_all_drawn():
    env = make(LANGUAGE, 200)
    observation, info = env.reset(seed=SEED)
    assert set(info["target"]) == {"red", "green", "blue"}
    assert len(set(info["instruction"])) == 24
    leftmost = cubes_and_goal(env, observation)[:, :3, 1].argmax(axis=1)
    assert np.bincount(leftmost, minlength=3).min() > 40


def test_a_cube_that_was_only_put_on_the_goal_is_pushed_not_success():
    env = make(PICK_PLACE, max_episode_steps=2)
    env.reset(seed=SEED)
    place_cube(env, [*env._simulation.marker_position[0, :2], CUBE_HALF])
    for _ in range(2):
        _, reward, terminated, truncated, info = env.step(HOLD)
    assert (reward[0], terminated[0], truncated[0], info["failure"][0]) == (0.0, False, True, "pushed")


@pytest.mark.parametrize(
    ("offset", "expected"),
    [((0.0, 0.0, 0.0), True), ((0.029, 0.0, 0.0), True), ((0.031, 0.0, 0.0), False), ((0.0, 0.0, 0.03), False)],
)
def test_success_needs_the_cube_at_rest_on_the_disc_after_a_lift(cube_env_id, offset, expected):
    env = make(cube_env_id, terminate_on_success=False)
    observation, _ = env.reset(seed=SEED, options={"target": "red"})
    act_as_expert(env, observation, until=lambda info: info["stage"][0] == "lifted")
    place_cube(env, np.array([*env._simulation.marker_position[0, :2], CUBE_HALF]) + offset)
    env._simulation.qpos[0, 7:9] = 0.04
    env._simulation.forward(np.ones(1, dtype=bool))
    env.task.look()
    assert bool(env.task.success()[0]) is expected


def test_held_cube_over_the_goal_is_no_success():
    env = make(PICK_PLACE)
    observation, _ = env.reset(seed=SEED)
    _, info = act_as_expert(env, observation, until=lambda info: info["distance_cube_goal"][0] < 0.01)
    assert not info["success"][0]


def failure_after(env, observation, action, steps):
    for _ in range(steps):
        *_, truncated, info = env.step(np.float32([action]))
    assert truncated[0]
    return info["failure"][0]


def test_failure_classes_follow_from_what_happened():
    idle = make(PICK_PLACE, max_episode_steps=5)
    observation, _ = idle.reset(seed=SEED)
    assert failure_after(idle, observation, [0, 0, 0, 1], 5) == "never_approached"

    holding = make(PICK_PLACE, max_episode_steps=100)
    observation, _ = holding.reset(seed=SEED)
    act_as_expert(holding, observation, until=lambda info: info["stage"][0] == "lifted")
    assert failure_after(holding, observation, [0, 0, 0, -1], 100 - int(holding._elapsed[0])) == "near_miss"

    dropping = make(PICK_PLACE, max_episode_steps=100)
    observation, _ = dropping.reset(seed=SEED)
    act_as_expert(dropping, observation, until=lambda info: info["stage"][0] == "lifted")
    assert failure_after(dropping, observation, [0, 0, 0, 1], 100 - int(dropping._elapsed[0])) == "dropped"


def test_lifting_another_cube_is_wrong_object():
    env = make(LANGUAGE, max_episode_steps=40)
    observation, _ = env.reset(seed=SEED, options={"target": "red"})
    expert = EXPERTS[LANGUAGE](env.contract)
    while True:
        truth = observation["environment_state"].copy()
        truth[:, :3] = env.contract.environment_state.get(truth, "blue_cube_position")
        misled = observation | {"environment_state": truth}
        observation, _, terminated, truncated, info = env.step(expert.act(misled, np.arange(1)))
        assert not terminated[0]
        if truncated[0]:
            break
    assert info["failure"][0] == "wrong_object"


def test_without_termination_an_episode_runs_on_after_success():
    env = make("SimScale/Reach-v0", terminate_on_success=False)
    observation, _ = env.reset(seed=SEED)
    _, _info = act_as_expert(env, observation, until=lambda info: bool(info["success"][0]))
    _, reward, terminated, *_ = env.step(np.zeros((1, 4), np.float32))
    assert (reward[0], terminated[0]) == (1.0, False)


def test_dense_reward_grows_towards_success_and_is_one_there(env_id):
    env = make(env_id, reward="dense")
    observation, _ = env.reset(seed=SEED)
    expert, rewards, terminated = EXPERTS[env_id](env.contract), [], [False]
    while not terminated[0]:
        observation, reward, terminated, *_ = env.step(expert.act(observation, np.arange(1)))
        rewards.append(reward[0])
    assert rewards[-1] == 1.0
    assert rewards[0] < 0.9
    assert min(rewards) >= 0.0


@pytest.mark.parametrize(
    ("feature", "offset", "expected"),
    [("cube_position", (0.045, 0.0, 0.0), "missed_grasp"), ("goal_position", (0.06, 0.0, 0.0), "misplaced")],
)
def test_an_expert_that_is_misled_fails_in_the_way_it_was_misled(feature, offset, expected):
    env = make(PICK_PLACE, max_episode_steps=100)
    observation, _ = env.reset(seed=SEED)
    expert, truncated = EXPERTS[PICK_PLACE](env.contract), [False]
    while not truncated[0]:
        truth = observation["environment_state"].copy()
        env.contract.environment_state.get(truth, feature)[:] += np.float32(offset)
        action = expert.act(observation | {"environment_state": truth}, np.arange(1))
        observation, _, _, truncated, info = env.step(action)
    assert info["failure"][0] == expected


def test_knocking_a_placed_cube_away_is_its_own_class():
    env = make(PICK_PLACE, max_episode_steps=60, terminate_on_success=False)
    observation, _ = env.reset(seed=SEED)
    act_as_expert(env, observation, until=lambda info: bool(info["success"][0]))
    place_cube(env, [0.45, 0.0, CUBE_HALF] if env._simulation.marker_position[0, 1] > 0.05 else [0.45, 0.17, CUBE_HALF])
    assert failure_after(env, observation, [0, 0, 1, 1], 60 - int(env._elapsed[0])) == "placed_then_knocked"
