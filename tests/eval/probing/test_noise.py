"""Action noise: Gaussian, from the seed of the episode, everywhere but on the gripper, within the range of actions."""

import numpy as np
import pytest

from envs.registration import find_environment
from envs.slots import ActionSpec
from eval.episodes.plan import EpisodeSpec, plan_episodes
from eval.probing.noise import ActionNoise, DisplacementNoise, StateNoise

TABLETOP = find_environment("reach").offer().action


def noisy(probe, seeds, steps, actions=None):
    """Returns the actions sent in the slots 0 to len(seeds) - 1, (steps, n, A)."""
    slots = np.arange(len(seeds))
    probe.begin(slots, [EpisodeSpec(index, seed) for index, seed in enumerate(seeds)])
    actions = np.zeros((len(seeds), 4), np.float32) if actions is None else actions
    return np.stack([probe.act(actions, slots) for _ in range(steps)])


def test_noise_is_gaussian_and_spares_the_gripper():
    sent = noisy(DisplacementNoise(0.2, TABLETOP), [7], 4000)[:, 0]
    assert sent.dtype == np.float32
    assert (sent[:, 3] == 0).all()
    moved = sent[:, :3]
    assert np.abs(moved.mean(axis=0)).max() < 4 * 0.2 / np.sqrt(4000)
    assert moved.std(axis=0) == pytest.approx([0.2] * 3, rel=0.05)
    assert 0.66 < (np.abs(moved) < 0.2).mean() < 0.71  # 68 % of a Gaussian


def test_bits_are_those_of_datasets_that_exist():
    """Demonstrations that were collected with noise must come again."""
    sent = noisy(DisplacementNoise(0.2, TABLETOP), [1_000_000_000], 2)[:, 0]
    stream = np.random.default_rng([1_000_000_000, 0x4E4F4953])
    expected = np.zeros((2, 4), dtype=np.float32)
    for row in expected:
        row[:3] = stream.normal(0, 0.2, 3)
    np.testing.assert_array_equal(sent, np.clip(expected, -1, 1))


def test_noise_of_an_episode_does_not_depend_on_its_slot_and_neighbours():
    alone = noisy(DisplacementNoise(0.2, TABLETOP), [8], 3)[:, 0]
    together = noisy(DisplacementNoise(0.2, TABLETOP), [7, 8], 3)
    np.testing.assert_array_equal(together[:, 1], alone)
    assert (together[:, 0] != together[:, 1])[:, :3].all()


def test_actions_stay_within_their_range_and_the_original_as_it_is():
    spec = ActionSpec(names=("x", "y"), low=(-2.0, float("-inf")), high=(0.5, float("inf")), meaning="")
    probe, slots = DisplacementNoise(3.0, spec), np.array([4])
    probe.begin(slots, [EpisodeSpec(0, 1)])
    action = np.array([[0.4, 0.0]], np.float32)
    sent = np.concatenate([probe.act(action, slots) for _ in range(200)])
    assert sent[:, 0].min() == -2
    assert sent[:, 0].max() == 0.5
    assert np.abs(sent[:, 1]).max() > 4
    assert action.tolist() == [[np.float32(0.4), 0.0]]


def test_what_the_policy_intended_stays_without_noise(run_point):
    from point_world import SPEC

    from eval.episodes.observer import Observer

    class Steps(Observer):
        def __init__(self):
            self.differences = []

        def on_step(self, step):
            self.differences.append(step.executed - np.clip(step.intended, -1, 1))
            assert set(np.unique(step.intended[:, 0] == step.executed[:, 0])) <= {False, True}

    plain, noise = Steps(), Steps()
    run_point(plan_episodes(3), 3, observers=[plain])
    run_point(plan_episodes(3), 3, observers=[noise], probes=[DisplacementNoise(0.2, SPEC.action)])
    assert not np.concatenate(plain.differences).any()
    assert np.concatenate(noise.differences).any()


def perturbed(probe, perturbations):
    """Begins episodes with these perturbations in the slots 0, 1, …, and returns the slots."""
    slots = np.arange(len(perturbations))
    probe.begin(slots, [EpisodeSpec(at, 7 + at, perturbation=each) for at, each in enumerate(perturbations)])
    return slots


def test_the_axis_of_actions_is_a_share_of_half_the_range_and_leaves_others_alone():
    spec = ActionSpec(
        names=("x", "y", "z", "gripper"),
        low=(-2, 0, float("-inf"), -1),
        high=(2, 1, 9, 1),
        meaning="",
        held=("gripper",),
    )
    probe = ActionNoise(spec)
    slots = perturbed(probe, [{"action.noise": 10}, None])
    centre = np.float32([[0, 0.5, 0, -0.0], [7, 7, 7, -0.0]])
    sent = np.stack([probe.act(centre, slots) for _ in range(4000)])
    assert sent[:, 0].std(axis=0) == pytest.approx([0.2, 0.05, 0, 0], rel=0.05)
    assert np.abs(sent[:, 0].mean(axis=0) - centre[0]).max() < 0.02
    assert {each.tobytes() for each in sent[:, 1]} == {centre[1].tobytes()}
    far = np.float32([[2, 1, 5, 1], [7, 7, 7, 1]])
    assert np.max([probe.act(far, slots)[0] for _ in range(50)], axis=0).tolist() == [2, 1, 5, 1]


def test_the_axis_of_states_is_in_units_of_each_number():
    probe = StateNoise(["state"])
    slots = perturbed(probe, [{"state.noise": 0.02}, None])
    observation = {"state": np.ones((2, 5), np.float32), "environment_state": np.ones((2, 3), np.float32)}
    given = [probe.observe(observation, slots) for _ in range(2000)]
    states = np.stack([each["state"] for each in given])
    assert states[:, 0].std(axis=0) == pytest.approx([0.02] * 5, rel=0.08)
    assert (states[:, 1] == 1).all()
    assert all(each["environment_state"] is observation["environment_state"] for each in given)
    assert (observation["state"] == 1).all()


def test_noise_on_states_depends_on_the_seed_alone_also_with_a_history():
    alone, together = StateNoise(["state"]), StateNoise(["state"])
    perturbed(alone, [{"state.noise": 0.02}])
    perturbed(together, [{"state.noise": 0.02}, {"state.noise": 0.05}])
    for _ in range(3):
        one = alone.observe({"state": np.zeros((1, 2, 4), np.float32)}, np.array([0]))["state"]
        two = together.observe({"state": np.zeros((2, 2, 4), np.float32)}, np.array([0, 1]))["state"]
        np.testing.assert_array_equal(one[0], two[0])
        assert len(np.unique(two)) == 16
