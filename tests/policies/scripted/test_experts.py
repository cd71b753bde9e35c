"""Experts: they succeed, keep no memory, and controls without skill do not pass."""

from dataclasses import replace

import numpy as np
import pytest

from envs import environment_names, find_environment
from envs.slots import Start
from policies.base import check_policy
from policies.scripted.experts import EXPERTS, PUSHERS
from simscaleai.errors import SimScaleError

SEED = 3_000_000_000


def success_rate(env_id, policy_type, episodes):
    registration = find_environment(env_id)
    policy = policy_type(registration.offer())
    env = registration.make(episodes, policy.needs, True, None)
    slots, successes = np.arange(episodes), 0
    env.reset(slots, [Start(SEED + index) for index in range(episodes)])
    while slots.size:
        observation = env.observe(slots, np.zeros(len(slots), dtype=bool))
        done = env.step(slots, policy.predict(observation, slots)[:, 0])
        successes += int((done.terminated & done.success).sum())
        slots = slots[~(done.terminated | done.truncated)]
    env.close()
    return successes / episodes


@pytest.mark.parametrize("episodes", [24, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("env_id", EXPERTS)
def test_the_expert_never_fails(env_id, episodes):
    assert success_rate(env_id, EXPERTS[env_id], episodes) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("env_id", PUSHERS)
def test_pushing_does_not_pass(env_id):
    assert success_rate(env_id, PUSHERS[env_id], 100) <= 0.02


@pytest.mark.parametrize(("env_id", "policy_type"), [*EXPERTS.items(), *PUSHERS.items()])
def test_an_expert_keeps_no_memory(env_id, policy_type):
    """Its action follows from the row alone, whatever other rows there are and in which order."""
    spec, rng = find_environment(env_id).offer(), np.random.default_rng(0)
    expert = policy_type(spec)
    check_policy(expert, spec)
    rows = {key: rng.normal(0.3, 0.2, (16, layout.size)).astype(np.float32) for key, layout in spec.vectors.items()}
    actions, order = expert.predict(rows, np.arange(16)), rng.permutation(16)
    shuffled = expert.predict({key: value[order] for key, value in rows.items()}, order)
    np.testing.assert_array_equal(actions[order], shuffled)
    single = expert.predict({key: value[3:4] for key, value in rows.items()}, np.array([9]))
    np.testing.assert_array_equal(actions[3:4], single)
    assert np.abs(actions).max() <= 1.0


def test_there_is_an_expert_for_every_environment():
    assert set(EXPERTS) == set(environment_names().values())


def test_an_expert_needs_simulator_truth():
    offered = find_environment("reach").offer()
    spec = replace(offered, vectors={"state": offered.vectors["state"]})
    with pytest.raises(SimScaleError, match="reads environment_state, which SimScale/Reach-v0 does not offer"):
        EXPERTS["SimScale/Reach-v0"](spec)
