"""What tasks draw, what counts as success, and why episodes fail."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from envs.tabletop.names import PICK_PLACE, REACH
from envs.tabletop.names import PICK_PLACE_LANGUAGE as LANGUAGE
from envs.tabletop.tasks.cubes import CUBE_HALF, SEPARATION
from envs.tabletop.vector_env import TaskVectorEnv
from policies.scripted.experts import EXPERTS
from simscaleai.errors import SimScaleError

SEED = 3_000_000_000
HOLD = np.array([[0.0, 0.0, 0.0, 1.0]], dtype=np.float32)


def make(env_id, num_envs=1, **options):
    return TaskVectorEnv(env_id, num_envs, environment_state=True, autoreset_mode=AutoresetMode.DISABLED, **options)


def truth_layout(env):
    return env.task_slots.spec.vectors["environment_state"]


def expert_for(env):
    return EXPERTS[env.task_slots.spec.env_id](env.task_slots.spec)


def cubes_and_goal(env, observation):
    layout, truth = truth_layout(env), observation["environment_state"]
    names = [feature.name for feature in layout.features if feature.name.endswith("position")]
    if env.task_slots.spec.env_id == LANGUAGE:  # the cube to move is one of the coloured ones
        names = [*(name for name in names if name.endswith("_cube_position")), "goal_position"]
    return np.stack([layout.get(truth, name)[:, :2] for name in names], axis=1)


def place_cube(env, position, colour="red"):
    """Put the cube at `position`, at rest, upright."""
    simulation = env.task_slots.simulation
    poses, velocities = simulation.free_bodies([f"cube_{colour}"])
    poses[0, 0], velocities[0, 0] = [*position, 1.0, 0.0, 0.0, 0.0], 0.0
    simulation.forward(np.ones(1, dtype=bool))


def goal_of(env):
    return env.task_slots.simulation.marker_position[0]


def act_as_expert(env, observation, *, until, steps=60):
    """Let the expert act until `until(info)`; return the steps that took and the last info."""
    expert = expert_for(env)
    for step in range(steps):
        observation, *_, info = env.step(expert.act(observation))
        if until(info):
            return step + 1, info
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
    layout, truth = truth_layout(env), observation["environment_state"]
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
    place_cube(env, [*goal_of(env)[:2], CUBE_HALF])
    for _ in range(2):
        _, reward, terminated, truncated, info = env.step(HOLD)
    assert (reward[0], terminated[0], truncated[0], info["failure"][0]) == (0.0, False, True, "pushed")


@pytest.mark.parametrize(
    ("offset", "expected"),
    [((0.0, 0.0, 0.0), True), ((0.029, 0.0, 0.0), True), ((0.031, 0.0, 0.0), False), ((0.0, 0.0, 0.03), False)],
)
@pytest.mark.parametrize("disc_env_id", [PICK_PLACE, LANGUAGE])
def test_success_needs_the_cube_at_rest_on_the_disc_after_a_lift(disc_env_id, offset, expected):
    env = make(disc_env_id, terminate_on_success=False)
    observation, _ = env.reset(seed=SEED, options={"target": "red"})
    act_as_expert(env, observation, until=lambda info: info["stage"][0] == "lifted")
    place_cube(env, np.array([*goal_of(env)[:2], CUBE_HALF]) + offset)
    env.task_slots.simulation.qpos[0, 7:9] = 0.04  # the gripper opens
    env.task_slots.simulation.forward(np.ones(1, dtype=bool))
    env.task_slots.task.measure()
    assert bool(env.task_slots.task.success()[0]) is expected


def test_held_cube_over_the_goal_is_no_success():
    env = make(PICK_PLACE)
    observation, _ = env.reset(seed=SEED)
    _, info = act_as_expert(env, observation, until=lambda info: info["distance_cube_goal"][0] < 0.01)
    assert not info["success"][0]


def failure_after(env, action, steps):
    for _ in range(steps):
        *_, truncated, info = env.step(np.float32([action]))
    assert truncated[0]
    return info["failure"][0]


def test_failure_classes_follow_from_what_happened():
    idle = make(PICK_PLACE, max_episode_steps=5)
    idle.reset(seed=SEED)
    assert failure_after(idle, [0, 0, 0, 1], 5) == "never_approached"
    for gripper, expected in ((-1, "near_miss"), (1, "dropped")):
        env = make(PICK_PLACE, max_episode_steps=100)
        observation, _ = env.reset(seed=SEED)
        steps, _ = act_as_expert(env, observation, until=lambda info: info["stage"][0] == "lifted")
        assert failure_after(env, [0, 0, 0, gripper], 100 - steps) == expected


@pytest.mark.parametrize(("stage", "expected"), [("near", "near_miss"), ("reached", "left_goal")])
def test_failures_of_reach_follow_from_how_near_it_came(stage, expected):
    env = make(REACH, terminate_on_success=False)
    observation, _ = env.reset(seed=SEED)
    steps, _ = act_as_expert(env, observation, until=lambda info: info["stage"][0] == stage)
    away = -np.sign(goal_of(env) - env.task_slots.simulation.ee_position[0])
    assert failure_after(env, [*away, 0], 50 - steps) == expected


def test_lifting_another_cube_is_wrong_object():
    env = make(LANGUAGE, max_episode_steps=40)
    observation, _ = env.reset(seed=SEED, options={"target": "red"})
    expert = expert_for(env)
    while True:
        truth = observation["environment_state"].copy()
        truth[:, :3] = truth_layout(env).get(truth, "blue_cube_position")
        misled = observation | {"environment_state": truth}
        observation, _, terminated, truncated, info = env.step(expert.act(misled))
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


@pytest.mark.parametrize(
    ("feature", "offset", "expected"),
    [("cube_position", (0.045, 0.0, 0.0), "missed_grasp"), ("goal_position", (0.06, 0.0, 0.0), "misplaced")],
)
def test_an_expert_that_is_misled_fails_in_the_way_it_was_misled(feature, offset, expected):
    env = make(PICK_PLACE, max_episode_steps=100)
    observation, _ = env.reset(seed=SEED)
    expert, truncated = expert_for(env), [False]
    while not truncated[0]:
        truth = observation["environment_state"].copy()
        truth_layout(env).get(truth, feature)[:] += np.float32(offset)
        action = expert.act(observation | {"environment_state": truth})
        observation, _, _, truncated, info = env.step(action)
    assert info["failure"][0] == expected


def test_knocking_a_placed_cube_away_is_its_own_class():
    env = make(PICK_PLACE, max_episode_steps=60, terminate_on_success=False)
    observation, _ = env.reset(seed=SEED)
    steps, _ = act_as_expert(env, observation, until=lambda info: bool(info["success"][0]))
    place_cube(env, [0.45, 0.0, CUBE_HALF] if goal_of(env)[1] > 0.05 else [0.45, 0.17, CUBE_HALF])
    assert failure_after(env, [0, 0, 1, 1], 60 - steps) == "placed_then_knocked"
