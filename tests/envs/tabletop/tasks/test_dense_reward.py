"""The dense reward: success pays more than anything else, in every task."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from envs import environment_names
from envs.tabletop.names import REACH
from envs.tabletop.registration import find_task
from envs.tabletop.vector_env import TaskVectorEnv
from policies.scripted.experts import EXPERTS

SEED = 3_000_000_200
WITH_DENSE_REWARD = [each for each in environment_names().values() if "dense" in find_task(each).rewards]


@pytest.fixture(params=WITH_DENSE_REWARD)
def env_id(request):
    return request.param


def make(env_id, num_envs=1, **options):
    options = {"environment_state": True, "reward": "dense", **options}
    return TaskVectorEnv(env_id, num_envs, autoreset_mode=AutoresetMode.DISABLED, **options)


def run(env_id, switches):
    """Run the same episode in each slot: slot i follows the expert for `switches[i]` steps, then stays where it is.

    Returns:
        Rewards (steps, N), zero after an episode's end; successes (N,); progress at the start and at the end, (N,).
    """
    env = make(env_id, len(switches))
    everything, task, last = np.arange(len(switches)), env.task_slots.task, np.array(switches)
    observation, info = env.reset(seed=[SEED] * len(switches))
    expert, start, rewards, successes = EXPERTS[env_id](env.task_slots.spec), task.progress(), [], info["success"]
    slots, actions = everything, np.zeros((len(switches), 4), np.float32)
    while slots.size:
        acting = last > len(rewards)
        actions[acting] = expert.act(observation)[acting]
        actions[~acting, :3] = 0  # the gripper stays as it is
        transition = env.task_slots.step(slots, actions[slots])
        rewards.append(np.zeros(len(switches)))
        rewards[-1][slots] = transition.reward
        successes[slots] |= transition.success
        slots = slots[~(transition.terminated | transition.truncated)]
        observation = env.task_slots.observe(everything, np.zeros(len(switches), bool))
    return np.array(rewards), successes, start, task.progress()


def test_the_rewards_of_an_episode_sum_to_its_growth_of_progress_and_its_success(env_id):
    rewards, successes, start, end = run(env_id, [999, 3, 0])
    assert successes.tolist() == [True, False, False]
    np.testing.assert_allclose(rewards.sum(axis=0), end - start + successes, atol=1e-12)
    assert end[0] == 1.0
    assert rewards.min() >= -1.0
    assert rewards.max() <= 2.0


def test_success_pays_more_than_hovering_wherever_one_stops(env_id):
    length = len(run(env_id, [999])[0])
    switches = [*range(0, length, max(1, length // 12)), length - 1]
    rewards, successes, _, _ = run(env_id, [999, *switches])
    assert successes[0]
    for discount in (1.0, 0.99, 0.95):
        returns = (discount ** np.arange(len(rewards))) @ rewards
        hovering = returns[1:][~successes[1:]]
        assert len(hovering) >= 5
        assert (hovering < returns[0]).all()
        if discount == 1.0:
            assert (hovering + 1 < returns[0]).all()


def test_progress_is_one_at_success_alone(env_id):
    env = make(env_id, 20, terminate_on_success=False)
    env.reset(seed=SEED)
    actions = np.random.default_rng(0).uniform(-1, 1, (40, 20, 4)).astype(np.float32)
    task = env.task_slots.task
    for action in actions:
        env.step(action)
        progress, success = task.progress(), task.success()
        assert (progress >= 0).all()
        np.testing.assert_array_equal(progress == 1, success)


def test_a_step_of_reach_pays_as_little_as_its_documentation_says():
    env = make(REACH, 100)
    env.reset(seed=SEED)
    for action in np.random.default_rng(0).choice([-1.0, 1.0], (40, 100, 4)):
        _, reward, terminated, *_ = env.step(action)
        assert np.abs(reward[~terminated]).max() <= 0.1
        env.reset(options={"reset_mask": terminated})


def test_staying_at_the_goal_pays_in_every_step_and_leaving_it_pays_nothing():
    env = make(REACH, terminate_on_success=False)
    observation, info = env.reset(seed=SEED)
    expert, task, total, successes = EXPERTS[REACH](env.task_slots.spec), env.task_slots.task, 0.0, 0
    start = task.progress()[0]
    for step in range(50):
        action = expert.act(observation) if step < 30 else np.float32([[0, 0, 1, 0]])
        observation, reward, _, _, info = env.step(action)
        total, successes = total + reward[0], successes + int(info["success"][0])
    assert successes > 10
    assert not info["success"][0]
    assert total == pytest.approx(successes + task.progress()[0] - start)


def test_ending_an_episode_by_an_invalid_action_pays_nothing():
    env = make(REACH)
    env.reset(seed=SEED)
    _, reward, terminated, *_ = env.step(np.float32([[np.nan, 0, 0, 0]]))
    assert (reward[0], terminated[0]) == (0.0, True)
