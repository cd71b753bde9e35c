"""Experts: they succeed, keep no memory, and controls without skill do not pass."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import envs
from envs.vector_env import TaskVectorEnv
from policies.registry import make_policy
from policies.scripted import EXPERTS, PUSHERS

SEED = 3_000_000_000


def success_rate(env_id, policy, episodes):
    env = TaskVectorEnv(env_id, episodes, environment_state=True, autoreset_mode=AutoresetMode.DISABLED)
    observation, _ = env.reset(seed=SEED)
    active, successes = np.ones(episodes, dtype=bool), 0
    while active.any():
        ids = np.flatnonzero(active)
        actions = np.zeros((episodes, 4), dtype=np.float32)
        actions[ids] = policy.act({key: rows[ids] for key, rows in observation.items()}, ids)
        observation, _, terminated, truncated, info = env.step(actions, active=active)
        active &= ~(terminated | truncated)
        successes += int((terminated & info["success"]).sum())
    return successes / episodes


@pytest.mark.parametrize("env_id", EXPERTS)
def test_the_expert_never_fails(env_id):
    assert success_rate(env_id, EXPERTS[env_id](envs.describe(env_id)), 64) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("env_id", PUSHERS)
def test_pushing_does_not_pass(env_id):
    assert success_rate(env_id, PUSHERS[env_id](envs.describe(env_id)), 100) <= 0.02


@pytest.mark.parametrize("env_id", EXPERTS)
def test_an_expert_keeps_no_memory(env_id):
    """Its action follows from the row alone, in whatever order and company rows come."""
    contract, rng = envs.describe(env_id), np.random.default_rng(0)
    expert = EXPERTS[env_id](contract)
    rows = {key: rng.normal(0.3, 0.2, (16, layout.size)).astype(np.float32) for key, layout in contract.vectors.items()}
    actions, order = expert.act(rows, np.arange(16)), rng.permutation(16)
    shuffled = expert.act({key: value[order] for key, value in rows.items()}, order)
    np.testing.assert_array_equal(actions[order], shuffled)
    single = expert.act({key: value[3:4] for key, value in rows.items()}, np.array([9]))
    np.testing.assert_array_equal(actions[3:4], single)
    assert np.abs(actions).max() <= 1.0


def test_there_is_an_expert_for_every_environment():
    assert set(EXPERTS) == set(envs.ENVIRONMENTS.values())


def test_names_build_their_policies():
    contract = envs.describe("SimScale/PickPlace-v0")
    names = {
        name: type(make_policy(name, checkpoint=None, environment=contract)).__name__ for name in ("scripted", "zero")
    }
    assert names == {"scripted": "PickPlaceExpert", "zero": "ZeroPolicy"}
