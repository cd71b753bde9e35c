"""PolicyAdapter: what it refuses, how rows are kept apart, and how a user's own model is run."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from policies.base import EnvSpec, Feature, Layout, PolicyUnavailable, check_policy
from policies.learned.adapter import PolicyAdapter
from simscaleai.contract import ActionSpec, check_needs
from simscaleai.errors import MismatchError, SimScaleError
from simscaleai.processing import Affine, Processor

NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
SLOTS = np.arange(3)
SIZE = (16, 16)
SPEC = EnvSpec(
    env_id="SimScale/PickPlace-v0",
    digest="abc",
    vectors={"state": Layout((Feature("ee_position", 3, "m", "world"),))},
    cameras={"front": None, "wrist": None},
    render_profile="plain",
    action=ActionSpec(names=("x", "y", "z", "gripper"), low=(-1.0,) * 4, high=(1.0,) * 4, meaning="displacement"),
    control_hz=20,
    max_episode_steps=150,
    success="",
    has_instructions=True,
)
NEEDS = SPEC.needs("state", cameras={"front": SIZE, "wrist": SIZE}, instruction=True)


class Linear(nn.Module):
    """A model that keeps the rules: every row for itself, chunks of 3."""

    action_horizon = 3

    def predict(self, obs, language=None):
        words = torch.tensor([float(len(text)) for text in language])
        base = obs["state"].sum(1) + obs["image"].flatten(1).mean(1) + words / 100
        return base[:, None, None] * torch.linspace(0.01, 0.1, 12).view(1, 3, 4)


class Projecting(Linear):
    """Rounds as matrix products do, and may be called by several threads."""

    is_thread_safe = True

    def __init__(self):
        super().__init__()
        weight = torch.linspace(-1, 1, 768 * 12).reshape(768, 12)
        self.weight = nn.Parameter(weight)

    @torch.no_grad()
    def predict(self, obs, language=None):
        pixels = obs["image"][:, :3].flatten(1)
        return torch.tanh(pixels @ self.weight).view(-1, 3, 4)


class BatchCoupled(Linear):
    """Ignores the rules: subtracts the mean of the batch."""

    def predict(self, obs, language=None):
        actions = super().predict(obs, language)
        return actions - actions.mean(0)


class GlobalNoise(Linear):
    """Ignores the rules: samples from torch's global generator."""

    def predict(self, obs, language=None):
        return super().predict(obs, language) + 0.1 * torch.randn(len(obs["state"]), 3, 4)


class OwnNoise(Linear):
    """Samples where nobody can seed it."""

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def predict(self, obs, language=None):
        return super().predict(obs, language) + float(self.rng.normal())


class Remembering(Linear):
    """Keeps what it saw, whoever's episode it was."""

    last = 0.0

    def predict(self, obs, language=None):
        actions = super().predict(obs, language) + self.last
        self.last = float(actions.sum())
        return actions


class Broken(Linear):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def predict(self, obs, language=None):
        return torch.full((len(obs["state"]), 3, 4), self.value)


class OddNoise(Linear):
    def noise_shape(self, rows):
        return (rows, 12)


class Unspeaking(nn.Module):
    action_horizon = 3

    def predict(self, obs):
        return torch.zeros(len(obs["state"]), 4)


def make_processor(action=None):
    vectors = {"state": Affine((0.0,) * 3, (1.0,) * 3)}
    return Processor(vectors=vectors, cameras=("front", "wrist"), image_size=SIZE, action=action)


def make_adapter(model, action=None, **options):
    checkpoint = SimpleNamespace(
        model=model, needs=NEEDS, processor=make_processor(action), n_action_steps=2, digest="weights"
    )
    return PolicyAdapter(checkpoint, **options)


def observe(rows, seed=0):
    rng = np.random.default_rng(seed)
    images = {key: rng.integers(0, 256, (rows, *SIZE, 3), dtype=np.uint8) for key in NEEDS.cameras}
    return {"state": rng.normal(size=(rows, 3)).astype(np.float32), **images}


def start(adapter, slots=SLOTS, seeds=(5, 6, 7)):
    adapter.reset(slots, list(seeds), [f"move cube {seed}" for seed in seeds])
    return adapter


def test_chunks_come_from_the_model():
    adapter, observation = start(make_adapter(Linear())), observe(3)
    chunks = Linear().predict(make_processor().observations(observation), [f"move cube {seed}" for seed in (5, 6, 7)])
    np.testing.assert_array_equal(adapter.predict(observation, SLOTS), chunks.numpy())


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_GPU)])
def test_a_row_does_not_depend_on_the_number_of_rows_on_a_device(device):
    adapter, alone = (make_adapter(Projecting(), device=device) for _ in range(2))
    start(adapter, np.arange(70), range(70))
    observation = observe(70)
    chunks = adapter.predict(observation, np.arange(70))
    for row in (0, 63, 64, 69):
        single = start(alone, np.array([row]), [row])
        one = {key: rows[row : row + 1] for key, rows in observation.items()}
        np.testing.assert_array_equal(single.predict(one, np.array([row]))[0], chunks[row])


@pytest.mark.parametrize(
    ("fails_always", "expected"), [(False, RuntimeError), (True, PolicyUnavailable)], ids=["the model", "the device"]
)
def test_a_failure_of_the_device_is_not_one_of_the_model(monkeypatch, fails_always, expected):
    adapter = start(make_adapter(Linear()))
    monkeypatch.setattr(Linear, "predict", lambda self, obs, language=None: broken())
    if fails_always:
        monkeypatch.setattr(torch, "ones", lambda *size, **place: broken())
    with pytest.raises(expected, match="CUDA error"):
        adapter.predict(observe(3), SLOTS)


def broken():
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def test_it_keeps_the_promises_of_a_policy():
    for model in (Linear(), BatchCoupled(), GlobalNoise()):
        check_policy(make_adapter(model), SPEC)


@pytest.mark.parametrize("model", [Linear, BatchCoupled, GlobalNoise])
def test_a_row_does_not_depend_on_the_others(model):
    """A model that breaks the rules is found out when it is loaded, and is run one row at a time."""
    together, alone = start(make_adapter(model())), make_adapter(model())
    observation = observe(3)
    chunks = together.predict(observation, SLOTS)
    for row in (2, 0, 1):
        start(alone, np.array([row]), [5 + row])
        single = alone.predict({key: rows[row : row + 1] for key, rows in observation.items()}, np.array([row]))
        np.testing.assert_array_equal(single[0], chunks[row])


@pytest.mark.parametrize("model", [OwnNoise, Remembering])
def test_a_model_that_cannot_be_repeated_even_a_row_at_a_time_is_refused(model):
    with pytest.raises(SimScaleError, match=f"{model.__name__}.predict gives different actions for equal inputs"):
        make_adapter(model())


def test_a_model_that_takes_no_instruction_cannot_follow_one():
    with pytest.raises(SimScaleError, match=r"Unspeaking\.predict takes no 'language'"):
        make_adapter(Unspeaking())


def test_sampling_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    adapter = start(make_adapter(GlobalNoise()))
    adapter.predict(observe(3), SLOTS)
    assert torch.equal(before, torch.random.get_rng_state())


def test_reset_begins_the_noise_of_its_slots_anew_and_of_no_other():
    adapter, observation = start(make_adapter(GlobalNoise())), observe(3)
    first, second = (adapter.predict(observation, SLOTS) for _ in range(2))
    start(start(adapter), np.array([1]), [6])
    adapter.predict(observation, SLOTS)
    start(adapter, np.array([1]), [6])
    again = adapter.predict(observation, SLOTS)
    np.testing.assert_array_equal(again[[0, 2]], second[[0, 2]])
    np.testing.assert_array_equal(again[1], first[1])
    assert not np.array_equal(first, second)


def test_actions_are_clipped_but_not_made_finite():
    adapter = start(make_adapter(Linear()))
    wild = observe(3) | {"state": np.full((3, 3), 500, dtype=np.float32)}
    assert np.abs(adapter.predict(wild, SLOTS)).max() == 1.0
    for value in (np.nan, np.inf, -np.inf):
        broken = start(make_adapter(Broken(value)))
        np.testing.assert_array_equal(broken.predict(observe(3), SLOTS), np.full((3, 3, 4), value))


def test_actions_come_in_units_of_the_environment():
    adapter = start(make_adapter(Broken(0.5), action=Affine((0.0, 0.0, 0.0, 100.0), (1.0, 2.0, 4.0, 80.0))))
    np.testing.assert_array_equal(adapter.predict(observe(3), SLOTS)[0, 0], [0.5, 1.0, 2.0, 140.0])


def test_noise_of_an_unknown_shape_is_refused():
    with pytest.raises(ValueError, match=r"noise_shape\(8\) is \(8, 12\), expected \(steps \+ 1, 8, H · A\)"):
        make_adapter(OddNoise())


@pytest.mark.parametrize(
    ("options", "result"),
    [({}, {"n_action_steps": 2}), ({"n_action_steps": 3}, {"n_action_steps": 3})]
    + [
        ({"synchronous": True}, {"n_action_steps": 2, "synchronous": True}),
        ({"synchronous": False}, {"n_action_steps": 2}),
    ]
    + [({"ensemble_decay": decay}, {"ensemble_decay": decay}) for decay in (0.0, 0.01)],
)
def test_how_chunks_are_executed_is_the_checkpoints_choice_unless_chosen(options, result):
    assert make_adapter(Linear(), **options).options == result


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_action_steps": 4}, "expected n_action_steps of 1 to 3, the length of the model's chunks; got 4"),
        ({"n_action_steps": 0}, "expected n_action_steps of at least 1, got 0"),
        ({"n_action_steps": 2, "ensemble_decay": 0.1}, "expected n_action_steps or ensemble_decay, got both"),
        ({"synchronous": True, "ensemble_decay": 0.1}, "expected synchronous or ensemble_decay, got both"),
    ],
)
def test_chunks_that_cannot_be_executed_are_refused(options, message):
    with pytest.raises(SimScaleError, match=message):
        make_adapter(Linear(), **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digest": "def"}, "digest of SimScale/PickPlace-v0: policy abc, environment def"),
        ({"env_id": "SimScale/Reach-v0"}, "environment: policy serves SimScale/PickPlace-v0"),
        (
            {"vectors": {"state": Layout((Feature("ee_position", 3, "mm", "world"),))}},
            r"state: policy ee_position\(3\) \[m\], environment ee_position\(3\) \[mm\]",
        ),
        ({"cameras": {"front": None}}, "camera 'wrist': policy needs it, environment has front"),
        ({"cameras": {"front": None, "wrist": (32, 32)}}, r"camera 'wrist': policy \(16, 16\), environment \(32, 32\)"),
        ({"render_profile": "fancy"}, "render profile: policy 'plain', environment 'fancy'"),
        ({"action": replace(SPEC.action, meaning="joint velocities")}, "action: policy 'displacement', environment"),
        ({"control_hz": 10}, "control rate: policy 20, environment 10"),
        ({"max_episode_steps": 200}, "max_episode_steps: policy 150, environment 200"),
        ({"has_instructions": False}, "instruction: policy reads one, environment gives none"),
    ],
)
def test_any_difference_from_the_environment_is_an_error_that_names_both_sides(changes, message):
    check_needs(NEEDS, SPEC)
    with pytest.raises(MismatchError, match=message):
        check_needs(NEEDS, replace(SPEC, **changes))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_scaling_of_actions_that_the_model_does_not_give_is_refused(size):
    with pytest.raises(SimScaleError, match=rf"expected a model with actions of {size} numbers.* got 4; train"):
        make_adapter(Linear(), action=Affine((0.0,) * size, (1.0,) * size))


def test_a_checkpoint_that_needs_several_observations_is_refused():
    checkpoint = SimpleNamespace(
        model=Linear(), needs=replace(NEEDS, history=2), processor=make_processor(), n_action_steps=2, digest="weights"
    )
    with pytest.raises(SimScaleError, match="look at 1 observation at a time, the checkpoint needs history=2"):
        PolicyAdapter(checkpoint)
