"""Labels of an expert: its own observations, the first action of its chunk, errors that name the episode."""

from dataclasses import replace

import numpy as np
import point_world
import pytest

from eval.demonstrations.expert_labels import ExpertError, ExpertLabels
from eval.episodes.observer import Observer
from eval.episodes.plan import plan_episodes
from policies.base import Policy
from simscaleai.contract import union_of_needs
from simscaleai.errors import PolicyUnavailable

SEED = 40
PLAN = plan_episodes(4, SEED)


class Expert(Policy):
    """Answers with the goal plus the sum of what it sees, and a second action that is no label."""

    def __init__(self, history=1, fails=lambda seed, look: None):
        self.needs = replace(point_world.SPEC.needs("goal", cameras={"front": (2, 2)}), history=history)
        self.seen, self.seeds, self.told, self.looks, self.fails = [], {}, {}, {}, fails

    def reset(self, slots, seeds, instructions):
        self.seeds.update(zip(slots.tolist(), seeds, strict=True))
        self.told.update(zip(seeds, instructions, strict=True))
        self.looks.update(dict.fromkeys(slots.tolist(), 0))

    def predict(self, observation, slots):
        self.seen.append({key: rows.shape for key, rows in observation.items()})
        for slot in slots.tolist():
            self.fails(self.seeds[slot], self.looks[slot])
            self.looks[slot] += 1
        brightness = observation["front"].reshape(len(slots), -1).astype(np.float32).mean(axis=1)
        for rows in observation.values():
            rows[:] = 0
        label = np.stack([brightness, brightness], axis=1)
        return np.stack([label, label + 1], axis=1)


class LabelledSteps(Observer):
    """Keeps the labels and what they were made from."""

    def __init__(self, labels):
        self.labels = labels
        self.needs = union_of_needs([labels.needs, point_world.SPEC.needs("position")])
        self.found, self.images, self.policy_chunks = [], [], []

    def on_episode_start(self, slot, spec, begun):
        self.labels.begin(slot, spec, begun)

    def on_step(self, step):
        self.found.append(self.labels.of(step))
        self.images.append(step.observation["front"].copy())
        assert step.observation.keys() == {"goal", "position", "front"}


@pytest.fixture
def label(run_point):
    def run(expert, num_slots=2):
        steps = LabelledSteps(ExpertLabels(expert, "tutor", 2))
        results, _, _ = run_point(PLAN, num_slots, observers=[steps])
        return results, steps

    return run


def test_the_label_is_the_first_action_for_the_experts_own_observations(label, run_point):
    expert = Expert()
    results, steps = label(expert)
    assert {tuple(seen) for seen in expert.seen} == {("goal", "front")}
    assert expert.told == {SEED + i: f"move {(SEED + i) % 3}" for i in range(4)}
    for labels, images in zip(steps.found, steps.images, strict=True):
        assert images.any()  # the expert changes its arrays, which must be copies
        expected = images.reshape(len(images), -1).astype(np.float32).mean(axis=1)
        np.testing.assert_array_equal(labels, np.stack([expected, expected], axis=1))
    assert results == run_point(PLAN, 2)[0]


def test_an_expert_with_a_history_gets_windows(label):
    expert = Expert(history=3)
    _, steps = label(expert, num_slots=1)
    assert {seen["front"] for seen in expert.seen} == {(1, 3, 2, 2, 3)}
    assert {seen["goal"] for seen in expert.seen} == {(1, 3, 2)}
    first, second = steps.found[:2]
    newest = [images.reshape(-1).astype(np.float32).mean() for images in steps.images[:2]]
    assert first[0, 0] == newest[0]  # the first observation fills the window
    assert second[0, 0] == pytest.approx((2 * newest[0] + newest[1]) / 3, abs=1e-4)


def fail(culprit, error, at=1):
    def check(seed, look):
        if (seed, look) == (culprit, at):
            raise error

    return check


@pytest.mark.parametrize("num_slots", [1, 4])
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RuntimeError("no\nidea"), "RuntimeError: no idea"),
        (SystemExit("enough"), "SystemExit: enough"),
        (PolicyUnavailable("gone"), "PolicyUnavailable: gone"),
    ],
)
def test_an_expert_that_raises_names_the_episode(label, num_slots, error, text):
    with pytest.raises(ExpertError) as raised:
        label(Expert(fails=fail(SEED + 2, error)), num_slots)
    expected = f"the expert 'tutor' failed in episode 2 (seed {SEED + 2}): {text}; finished episodes are kept"
    assert str(raised.value) == expected


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda n: np.full((n, 1, 2), np.nan, np.float32), "the action is not finite"),
        (
            lambda n: np.zeros((n, 2), np.float32),
            "float32 array of shape (1, H, 2), the policy gave float32 of shape (1, 2)",
        ),
        (lambda n: np.zeros((n, 1, 2)), "gave float64"),
        (lambda n: [[[0.0, 0.0]]] * n, "gave list"),
    ],
)
def test_an_answer_that_cannot_be_a_label_is_an_error(label, answer, text):
    expert = Expert()
    expert.predict = lambda observation, slots: answer(len(slots))
    with pytest.raises(ExpertError) as raised:
        label(expert)
    assert "in episode 0 (seed 40)" in str(raised.value)
    assert text in str(raised.value)


def test_an_expert_that_cannot_be_reset_names_the_episode(label):
    expert = Expert()

    def reset(slots, seeds, instructions):
        raise KeyError("x")

    expert.reset = reset
    with pytest.raises(ExpertError, match=r"failed in episode 0 \(seed 40\): KeyError: 'x'"):
        label(expert)
