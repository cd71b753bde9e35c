"""Success rules and episodes of one Gymnasium environment."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from envs.foreign.gym_slot import GymSlot, SuccessRule
from envs.foreign.gym_spaces import EpisodeError, SetUpError


def box(*shape, low=-np.inf, high=np.inf, dtype=np.float64):
    return spaces.Box(low, high, shape, dtype)


class Scripted(gym.Env):
    """Gives what a test scripts: one (observation, reward, terminated, truncated, info) per step."""

    def __init__(self, steps=(), observation_space=None, first=(0.0,)):
        self.observation_space = observation_space or box(1)
        self.action_space = spaces.Box(-1, 1, (2,), np.float64)
        self.steps, self.first, self.actions, self.resets = list(steps), np.array(first), [], []

    def reset(self, *, seed=None, options=None):
        self.resets.append((seed, options))
        return self.first, {"began": True}

    def step(self, action):
        self.actions.append(action)
        return self.steps[len(self.actions) - 1]

    def render(self):
        return np.full((20, 30, 4), 7, np.uint8)


def slot(*steps, success="info:done", ends=True, limit=10, **kwargs):
    made = GymSlot(Scripted(steps, **kwargs), SuccessRule(success), terminate_on_success=ends, max_episode_steps=limit)
    made.reset(0)
    return made


def at(reward=0.0, *, terminated=False, truncated=False, observation=(0.0,), **info):
    return np.array(observation), reward, terminated, truncated, info


NOTHING = np.zeros(2, np.float32)


@pytest.mark.parametrize("text", ["", "info:", "success", "return>=", "return>=much", "return>=nan", "return>90"])
def test_an_unknown_success_rule_names_the_choices(text):
    with pytest.raises(SetUpError, match="info:KEY, terminated, or return>=NUMBER"):
        SuccessRule(text)


def test_success_in_info_ends_the_episode_unless_it_shall_run_on():
    steps = at(1.0, done=0.0), at(2.0, done=np.float64(1.0)), at(done=False)
    env = slot(*steps)
    assert not env.step(NOTHING).terminated
    done = env.step(NOTHING)
    assert done.success
    assert done.terminated
    assert done.failure == ""
    env = slot(*steps, ends=False)
    env.step(NOTHING)
    assert not env.step(NOTHING).terminated


def test_a_return_is_judged_at_the_last_step():
    env = slot(at(5.0), at(-4.0), at(4.5, truncated=True), success="return>=5.5")
    assert [env.step(NOTHING).success for _ in range(3)] == [False, False, True]
    env = slot(at(5.0), at(-4.0, terminated=True), success="return>=5")
    env.step(NOTHING)
    assert env.step(NOTHING).failure == "terminated"


def test_termination_may_be_the_success():
    assert slot(at(terminated=True), success="terminated").step(NOTHING).success
    last = slot(at(), at(), success="terminated", limit=2)
    last.step(NOTHING)
    assert last.step(NOTHING)[1:4] == (False, True, False)


def test_the_time_limit_ends_an_episode():
    env = slot(at(done=False), limit=1)
    assert env.step(NOTHING).truncated
    assert slot(at(done=False), limit=1).step(NOTHING).failure == "time_limit"


def test_a_success_key_that_never_appears_is_a_mistake_that_names_the_keys():
    env = slot(at(), at(is_success=True, truncated=True))
    env.step(NOTHING)
    with pytest.raises(SetUpError, match=r"info never had the key 'done'.*it had: is_success"):
        env.step(NOTHING)


@pytest.mark.parametrize("answer", [
    (np.zeros(1), 0.0, False, {}), (np.zeros(1), 0.0, False, False, None), [np.zeros(1), 0.0, False, False, {}], None,
])  # fmt: skip
def test_an_answer_in_another_form_than_that_of_gymnasium_is_a_mistake_of_the_user(answer):
    with pytest.raises(SetUpError, match=r"expected step\(\) to return \(observation, reward, .* got "):
        slot(answer).step(NOTHING)


def test_an_action_that_is_not_finite_does_not_reach_the_environment():
    env = slot(at())
    before = env.state
    stepped = env.step(np.float32([np.nan, 0]))
    assert stepped.failure == "invalid_action"
    assert env.env.actions == []
    assert env.state == before


def test_a_reward_that_is_not_finite_is_a_fault_of_the_environment():
    with pytest.raises(EpisodeError, match="reward that is not finite"):
        slot(at(float("nan"))).step(NOTHING)


def test_the_state_covers_observation_and_reward():
    states = {slot(at(reward, observation=[x]), at()) for reward, x in ((0, 0), (0, 1), (1, 0))}
    for each in states:
        each.step(NOTHING)
    assert len({each.state for each in states}) == 3


def test_a_picture_has_three_channels():
    assert slot().render().shape == (20, 30, 3)
