import numpy as np
import pytest

from envs.interface import Contract, Layout
from policies.baselines import RandomPolicy, ZeroPolicy

CONTRACT = Contract(environments={"Any-v0": "0"}, state=Layout(()))


def actions_of(seed, slot, steps=50, neighbours=()):
    """Returns what a random policy does in `slot` in an episode of `seed`, other slots running beside it."""
    policy = RandomPolicy(CONTRACT)
    env_ids = np.array([slot, *neighbours])
    policy.reset(env_ids, [seed, *range(100, 100 + len(neighbours))], [""] * len(env_ids))
    return np.array([policy.act({}, env_ids)[0] for _ in range(steps)])


def test_random_actions_belong_to_the_seed_not_to_slot_or_neighbours():
    alone = actions_of(seed=7, slot=0)
    assert np.array_equal(actions_of(seed=7, slot=3, neighbours=(1, 5)), alone)
    assert not np.array_equal(actions_of(seed=8, slot=0), alone)


def test_random_actions_are_uniform_float32():
    actions = actions_of(seed=7, slot=0, steps=2000)
    assert actions.dtype == np.float32
    assert np.abs(actions).max() <= 1
    assert np.quantile(actions, [0.25, 0.5, 0.75], axis=0) == pytest.approx(
        np.repeat([[-0.5], [0.0], [0.5]], 4, axis=1), abs=0.05
    )


@pytest.mark.parametrize("policy_type", [ZeroPolicy, RandomPolicy])
def test_baselines_never_look(policy_type):
    policy = policy_type(CONTRACT)
    policy.reset(np.array([0, 2]), [1, 2], ["", ""])
    assert not policy.needs_observation(np.array([0, 2])).any()
    assert policy.act({}, np.array([2])).shape == (1, 4)
