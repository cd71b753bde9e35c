"""Controls: what they do belongs to the episode's seed alone, in the action range of any environment."""

from dataclasses import replace

import numpy as np
import pytest

from policies.base import EnvSpec, check_policy
from policies.scripted.controls import RandomPolicy, ZeroPolicy
from simscaleai.contract import ActionSpec
from simscaleai.errors import SimScaleError

SPEC = EnvSpec(
    env_id="Any-v0",
    digest="0",
    vectors={},
    action=ActionSpec(names=("torque", "gripper"), low=(-2.0, 0.0), high=(2.0, 100.0), meaning="any"),
    control_hz=10,
    max_episode_steps=30,
    success="",
)


def actions_of(seed, slot, steps=50, neighbours=()):
    """Return what a random policy does in `slot` in an episode of `seed`, with other slots beside it."""
    policy = RandomPolicy(SPEC)
    slots = np.array([slot, *neighbours])
    policy.reset(slots, [seed, *range(100, 100 + len(neighbours))], [""] * len(slots))
    return np.array([policy.predict({}, slots)[0, 0] for _ in range(steps)])


def test_random_actions_belong_to_the_seed_not_to_slot_or_neighbours():
    alone = actions_of(seed=7, slot=0)
    assert np.array_equal(actions_of(seed=7, slot=3, neighbours=(4, 5)), alone)
    assert not np.array_equal(actions_of(seed=8, slot=0), alone)


def test_random_actions_need_bounds():
    with pytest.raises(SimScaleError, match="random actions need bounds; 'torque' of Any-v0 is from -inf to 2"):
        RandomPolicy(replace(SPEC, action=replace(SPEC.action, low=(-np.inf, 0.0))))


def test_random_actions_are_uniform_over_the_range_of_the_environment():
    actions = actions_of(seed=7, slot=0, steps=2000)
    assert np.quantile(actions, [0, 0.25, 0.5, 0.75, 1], axis=0) == pytest.approx(
        np.array([[-2, 0], [-1, 25], [0, 50], [1, 75], [2, 100]]), rel=0.05, abs=0.1
    )
    assert (actions >= SPEC.action.low).all()
    assert (actions <= SPEC.action.high).all()


def test_zero_sends_zeros():
    assert not ZeroPolicy(SPEC).predict({}, np.array([0, 2])).any()


@pytest.mark.parametrize("policy_type", [ZeroPolicy, RandomPolicy])
def test_controls_look_at_nothing_and_keep_the_promises_of_a_policy(policy_type):
    policy = policy_type(SPEC)
    assert policy.needs.keys == ()
    check_policy(policy, SPEC)
