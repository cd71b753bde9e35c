"""Goal-conditioned tasks: rewards follow from the goals alone, and agree with the environment's own success."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs import find_environment
from envs.tabletop.names import PICK_PLACE_GOAL, REACH, REACH_GOAL
from envs.tabletop.vector_env import GoalTaskVectorEnv, TaskVectorEnv
from policies.scripted.experts import EXPERTS, PUSHERS
from simscaleai.errors import SimScaleError, UnknownNameError

SEED = 3_000_000_400
GOAL_TASKS = [REACH_GOAL, PICK_PLACE_GOAL]


@pytest.mark.parametrize("env_id", GOAL_TASKS)
def test_the_reward_of_every_step_is_computed_from_the_observed_goals(env_id):
    """Steps of an expert, which reaches the goal and stays there, with noise, which leaves it again."""
    env = GoalTaskVectorEnv(env_id, 20, environment_state=True, terminate_on_success=False)
    observation, info = env.reset(seed=SEED)
    spec, noise, rewards = env.task_slots.spec, np.random.default_rng(0), []
    expert, slots = EXPERTS[env_id](spec), np.arange(20)
    for _ in range(spec.max_episode_steps - 1):
        truth = {"state": env.task_slots.task.state_vector(), **observation}
        actions = expert.predict(truth, slots)[:, 0] + noise.normal(0, 0.3, (20, 4))
        observation, reward, _, _, info = env.step(actions)
        np.testing.assert_array_equal(
            reward, env.compute_reward(observation["achieved_goal"], observation["desired_goal"], info)
        )
        np.testing.assert_array_equal(reward, info["success"] - 1.0)
        rewards.append(reward)
    assert set(np.unique(rewards)) == {-1.0, 0.0}


@pytest.mark.parametrize("env_id", GOAL_TASKS)
def test_rewards_have_the_shape_of_the_goals(env_id):
    env = gym.make(f"envs:{env_id}").unwrapped
    goals = np.random.default_rng(0).uniform(0, 0.05, (2, 30, 3)).astype(np.float32)
    rewards = env.compute_reward(goals[0], goals[1], [{}] * 30)
    assert (rewards.shape, rewards.dtype) == ((30,), np.float64)
    assert [env.compute_reward(*pair, {}) for pair in zip(*goals, strict=True)] == rewards.tolist()
    assert env.compute_reward(goals, goals, {}).tolist() == [[0.0] * 30] * 2
    with pytest.raises(SimScaleError, match=r"goals of one shape \(…, 3\), got \(30, 3\) and \(3,\)"):
        env.compute_reward(goals[0], goals[1][0], {})


@pytest.mark.parametrize(
    ("env_id", "shift", "reward"),
    [
        (REACH_GOAL, (0.019, 0, 0), 0),
        (REACH_GOAL, (0, 0, 0.021), -1),
        (PICK_PLACE_GOAL, (0.029, 0, 0.004), 0),
        (PICK_PLACE_GOAL, (0, 0.031, 0), -1),
        (PICK_PLACE_GOAL, (0, 0, 0.006), -1),
    ],
)
def test_the_goal_is_achieved_within_the_documented_distance(env_id, shift, reward):
    env, desired = gym.make(f"envs:{env_id}").unwrapped, np.array([0.5, 0.1, 0.02])
    assert env.compute_reward(desired + shift, desired, {}) == reward


@pytest.mark.parametrize("env_id", GOAL_TASKS)
def test_the_checker_of_gymnasium_finds_nothing_and_observations_are_goals(env_id):
    env = gym.make(f"envs:{env_id}", cameras=("front",), image_size=16)
    assert set(env.observation_space.spaces) == {"observation", "achieved_goal", "desired_goal", "front"}
    check_env(gym.make(f"envs:{env_id}").unwrapped, skip_render_check=True)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", GOAL_TASKS)
def test_the_checker_of_stable_baselines3_finds_nothing(env_id, recwarn):
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    recwarn.clear()
    checker.check_env(gym.make(f"envs:{env_id}").unwrapped)
    assert not [str(each.message) for each in recwarn]


def test_an_episode_is_that_of_the_parent_until_its_success():
    goal, parent = GoalTaskVectorEnv(REACH_GOAL, 4), TaskVectorEnv(REACH, 4)
    (ours, _), (theirs, _) = goal.reset(seed=SEED), parent.reset(seed=SEED)
    for action in np.random.default_rng(0).uniform(-1, 1, (20, 4, 4)):
        np.testing.assert_array_equal(ours["observation"], theirs["state"][:, :17])
        np.testing.assert_array_equal(ours["desired_goal"], theirs["state"][:, 17:])
        (ours, _, ended, *_), (theirs, _, ended_too, *_) = goal.step(action), parent.step(action)
        np.testing.assert_array_equal(ended, ended_too)


def test_a_dense_reward_is_refused_since_it_does_not_follow_from_the_goals():
    with pytest.raises(UnknownNameError, match=r"Unknown reward 'dense'. Choose from: sparse"):
        gym.make(f"envs:{REACH_GOAL}", reward="dense")


def test_a_cube_that_is_pushed_to_the_disc_counts():
    """Two points do not say how the cube came there. The documentation of the task says so."""
    spec = find_environment("pick-place-goal").offer()
    env = GoalTaskVectorEnv(PICK_PLACE_GOAL, 10, environment_state=True, autoreset_mode="Disabled")
    env.reset(seed=SEED)
    pusher, slots, successes = PUSHERS["SimScale/PickPlace-v0"](spec), np.arange(10), 0
    while slots.size:
        rows = env.task_slots.observe(np.arange(10), np.zeros(10, bool)) | {"state": env.task_slots.task.state_vector()}
        done = env.task_slots.step(slots, pusher.predict(rows, np.arange(10))[slots, 0])
        successes += int(done.success.sum())
        slots = slots[~(done.terminated | done.truncated)]
    assert successes >= 1
