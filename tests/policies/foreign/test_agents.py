"""A user's function or class as policy, which imports nothing of this project."""

import numpy as np
import pytest

from policies.base import check_policy
from policies.registry import make_policy
from simscaleai.contract import ActionSpec, EnvSpec, Feature, Layout
from simscaleai.errors import SimScaleError

SPEC = EnvSpec(
    env_id="Test/Agents-v0",
    digest="1",
    vectors={
        "state": Layout((Feature("x", 2, "m", ""),)),
        "truth": Layout((Feature("goal", 2, "m", ""),), privileged=True),
    },
    cameras={"front": None, "wrist": (8, 12)},
    action=ActionSpec(names=("x", "y"), low=(-1.0, -1.0), high=(1.0, 1.0), meaning="velocity"),
    control_hz=10,
    max_episode_steps=9,
    success="done",
    has_instructions=True,
)

SOURCE = """
def act(observation):
    return -observation["state"]

act.needs = {"state": None}

def chunk(observation, gain=1.0):
    return [[gain, 0.0], [0.0, 1.0], [0.5, 0.5]]

def everything(observation):
    assert set(observation) == {"state", "front", "wrist", "instruction"}, set(observation)
    assert observation["state"].shape == (2,)
    assert observation["front"].shape == (96, 96, 3)
    assert observation["wrist"].shape == (8, 12, 3)
    return [len(observation["instruction"]), 0]

class Counter:
    needs = {"wrist": None, "instruction": None}

    def __init__(self, step=1):
        self.step = step

    def reset(self, seed, instruction):
        self.count, self.bonus = seed, len(instruction)

    def act(self, observation):
        self.count += self.step
        return [self.count, self.bonus]

class NoReset:
    def act(self, observation):
        return [0, 0]

class NoAct:
    def reset(self, seed, instruction):
        pass

class BareReset(NoAct):
    def reset(self):
        pass

    def act(self, observation):
        return [0, 0]

class BareAct(NoAct):
    def act(self):
        return [0, 0]

class Predicts:
    def reset(self):
        pass

    def predict(self, observation):
        return [0, 0]

def needs_gain(observation, gain):
    return [gain, 0]

def takes_a_spec(observation, spec):
    return [0, 0]

def any_option(observation, **options):
    return [options["speed"], 0]

any_option.needs = {}
instance = Counter()

def odd_answer(observation):
    return {"x": 1}

def wrong_size(observation):
    return [1, 2, 3]

def wrong_needs(observation):
    return [0, 0]

wrong_needs.needs = {"states": None}

def listed_needs(observation):
    return [0, 0]

listed_needs.needs = ["state"]
"""


@pytest.fixture
def user(tmp_path):
    path = tmp_path / "users_policies.py"
    path.write_text(SOURCE)

    def make(name, **options):
        return make_policy(f"{path}:{name}", spec=SPEC, options=options)

    yield make
    import sys

    sys.modules.pop("users_policies", None)


def asked(policy, observation, slots=(0, 1), seeds=(5, 7), instructions=("go", "stop")):
    policy.reset(np.array(slots), seeds, instructions)
    return policy.predict(observation, np.array(slots))


STATES = {"state": np.float32([[1, 2], [3, 4]])}


def test_a_function_maps_one_observation_to_one_action(user):
    policy = user("act")
    assert list(policy.needs.vectors) == ["state"]
    assert not policy.needs.cameras
    np.testing.assert_array_equal(asked(policy, STATES), -STATES["state"][:, None])
    check_policy(policy, SPEC)


def test_a_function_may_answer_with_a_chunk_and_have_options(user):
    policy = user("chunk", gain="0.25")
    chunks = asked(policy, {key: np.zeros((2, 1)) for key in policy.needs.keys})
    np.testing.assert_array_equal(chunks[1], np.float32([[0.25, 0], [0, 1], [0.5, 0.5]]))
    with pytest.raises(SimScaleError, match=r"Unknown policy option 'gian'. Did you mean 'gain'"):
        user("chunk", gian="1")


def test_a_function_may_take_any_option(user):
    assert asked(user("any_option", speed="3"), {})[:, 0, 0].tolist() == [3, 3]


def test_without_needs_a_function_gets_all_but_simulator_truth(user):
    policy = user("everything")
    observation = {
        "state": np.zeros((2, 2), np.float32),
        "front": np.zeros((2, 96, 96, 3), np.uint8),
        "wrist": np.zeros((2, 8, 12, 3), np.uint8),
    }
    assert asked(policy, observation)[:, 0, 0].tolist() == [2, 4]


def test_a_class_has_one_instance_per_slot(user):
    policy = user("Counter", step="10")
    assert policy.needs.cameras == {"wrist": (8, 12)}
    assert policy.needs.instruction
    images = {"wrist": np.zeros((2, 8, 12, 3), np.uint8)}
    assert asked(policy, images)[:, 0].tolist() == [[15, 2], [17, 4]]
    again = policy.predict({"wrist": images["wrist"][:1]}, np.array([1]))
    assert again[:, 0].tolist() == [[27, 4]]
    check_policy(policy, SPEC)


def test_what_it_changes_in_an_observation_stays_there(user, tmp_path):
    path = tmp_path / "changes_its_input.py"
    path.write_text("def act(o):\n    o['state'][:] = 0\n    return o['state']\nact.needs = {'state': None}\n")
    check_policy(make_policy(f"{path}:act", spec=SPEC), SPEC)


def test_the_identity_follows_the_file(user, tmp_path):
    first = tmp_path / "one_identity.py"
    first.write_text("def act(o):\n    return [0, 0]\n")
    before = make_policy(f"{first}:act", spec=SPEC).identity
    assert before
    first.write_text("def act(o):\n    return [0, 1]\n")
    assert make_policy(f"{first}:act", spec=SPEC).identity != before


@pytest.mark.parametrize(("name", "message"), [
    ("NoReset", r"has no reset; add reset\(self, seed, instruction\)"),
    ("NoAct", r"has no act; add act\(self, observation\)"),
    ("BareReset", r"reset of class .*BareReset': too many .*; expected reset\(self, seed, instruction\)"),
    ("BareAct", r"act of class .*BareAct': too many .*; expected act\(self, observation\)"),
    ("Predicts", r"is no policy: add reset\(self, seed, instruction\) and act\(self, observation\), or take"),
    ("needs_gain", "missing a required argument: 'gain'; give it a default, or a value with --policy-option"),
    ("takes_a_spec", "missing a required argument: 'spec'"),
    ("instance", "expected a function or a class, got an object of class Counter"),
    ("wrong_needs", "Unknown observation 'states'. Did you mean 'state'"),
    ("listed_needs", "expected needs of .* such as"),
])  # fmt: skip
def test_what_is_no_policy_is_refused_before_the_run(user, name, message):
    with pytest.raises(SimScaleError, match=message):
        user(name)


@pytest.mark.parametrize(("name", "message"), [
    ("odd_answer", r"expected an action of shape \(2,\) or a chunk of shape \(H, 2\), got dict"),
    ("wrong_size", r"got shape \(3,\)"),
])  # fmt: skip
def test_a_wrong_answer_names_what_was_expected(user, name, message):
    with pytest.raises(TypeError, match=message):
        asked(user(name), STATES)
