"""PolicyAdapter: what it refuses, how rows are kept apart, and how a user's own model is run."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import simscaleai.errors
from envs.interface import Contract, ContractError, Feature, Layout, SimScaleError, check_contract
from policies.adapter import PolicyAdapter
from simscaleai.processing import Affine, Processor

IDS = np.arange(3)
SIZE = (16, 16)


def make_contract(**changes):
    fields = {
        "environments": {"SimScale/PickPlace-v0": "abc"},
        "state": Layout((Feature("ee_position", 3, "m", "world"),)),
        "cameras": ("front", "wrist"),
        "image_size": SIZE,
        "render_profile": "plain",
        "language": True,
        "max_episode_steps": 150,
    }
    return Contract(**(fields | changes))


class Linear(nn.Module):
    """A well-behaved model: every row for itself, chunks of 3."""

    action_horizon = 3

    def __init__(self):
        super().__init__()
        self.calls = []

    def predict(self, obs, language=None):
        self.calls.append(language)
        words = torch.tensor([float(len(text)) for text in language])
        base = obs["state"].sum(1) + obs["image"].flatten(1).mean(1) + words / 100
        return base[:, None, None] * torch.linspace(0.01, 0.1, 12).view(1, 3, 4)


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


def make_adapter(model, contract=None, **options):
    contract = contract or make_contract()
    channels = 3 * len(contract.cameras)
    processor = Processor(
        vectors={"state": Affine((0.0,) * 3, (1.0,) * 3)},
        image_shape=(*SIZE, channels) if channels else None,
        action=None,
    )
    checkpoint = SimpleNamespace(model=model, contract=contract.to_json(), processor=processor, n_action_steps=2)
    return PolicyAdapter(checkpoint, **options)


def observe(rows, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (rows, *SIZE, 6), dtype=np.uint8)
    return {"state": rng.normal(size=(rows, 3)).astype(np.float32), "image": image}


def start(adapter, ids=IDS, seeds=(5, 6, 7)):
    adapter.reset(ids, list(seeds), [f"move cube {seed}" for seed in seeds])
    return adapter


def test_actions_come_from_the_model_chunk_by_chunk():
    adapter = start(make_adapter(Linear()))
    observation = observe(3)
    assert adapter.needs_observation(IDS).all()
    first = adapter.act(observation, IDS)
    assert not adapter.needs_observation(IDS).any()
    second = adapter.act({key: rows * 0 for key, rows in observation.items()}, IDS)
    assert adapter.needs_observation(IDS).all()
    chunk = make_adapter(Linear())._inference._model.predict(
        adapter._processor.observations(observation), [f"move cube {seed}" for seed in (5, 6, 7)]
    )
    np.testing.assert_array_equal(first, chunk[:, 0].numpy())
    np.testing.assert_array_equal(second, chunk[:, 1].numpy())


@pytest.mark.parametrize("model", [Linear, BatchCoupled, GlobalNoise])
def test_a_row_does_not_depend_on_its_company(model):
    """A model that breaks the rules is found out at load time and run a row at a time."""
    together, alone = start(make_adapter(model())), make_adapter(model())
    assert together._inference.runs_tiles is (model is Linear)
    observation = observe(3)
    actions = together.act(observation, IDS)
    for row in (2, 0, 1):
        start(alone, np.array([row]), [5 + row])
        single = alone.act({key: rows[row : row + 1] for key, rows in observation.items()}, np.array([row]))
        np.testing.assert_array_equal(single[0], actions[row])


@pytest.mark.parametrize("model", [OwnNoise, Remembering])
def test_a_model_that_cannot_be_repeated_even_a_row_at_a_time_is_refused(model):
    with pytest.raises(
        simscaleai.errors.SimScaleError, match=f"{model.__name__}.predict answers otherwise when asked the same again"
    ):
        make_adapter(model())


def test_sampling_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    adapter = start(make_adapter(GlobalNoise()))
    adapter.act(observe(3), IDS)
    assert torch.equal(before, torch.random.get_rng_state())


def test_reset_forgets_only_its_slots():
    adapter = start(make_adapter(Linear()))
    adapter.act(observe(3), IDS)
    start(adapter, np.array([1]), [9])
    assert adapter.needs_observation(IDS).tolist() == [False, True, False]


def test_an_empty_instruction_is_refused():
    with pytest.raises(ValueError, match=r"instruction.*seed 6 is empty"):
        make_adapter(Linear()).reset(IDS, [5, 6, 7], ["a", "  ", "b"])


def test_a_constant_image_is_refused_and_its_camera_named():
    adapter, observation = start(make_adapter(Linear())), observe(3)
    observation["image"][2, ..., 3:] = 0
    with pytest.raises(ValueError, match=r"camera 'wrist' is constant \(0\)"):
        adapter.act(observation, IDS)


def test_actions_are_clipped_but_not_made_finite():
    adapter = start(make_adapter(Linear()))
    wild = {"state": np.full((3, 3), 500, dtype=np.float32), "image": observe(3)["image"]}
    assert np.abs(adapter.act(wild, IDS)).max() == 1.0
    for value in (np.nan, np.inf, -np.inf):
        broken = start(make_adapter(Broken(value)))
        np.testing.assert_array_equal(broken.act(observe(3), IDS), np.full((3, 4), value))


def test_noise_of_an_unknown_shape_is_refused():
    with pytest.raises(ValueError, match=r"noise_shape\(8\) is \(8, 12\), expected \(steps \+ 1, 8, H · A\)"):
        make_adapter(OddNoise())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_action_steps": 4}, "within 1 to 3"),
        ({"n_action_steps": 0}, "within 1 to 3"),
        ({"n_action_steps": 2, "ensemble_decay": 0.1}, "either n_action_steps or ensemble_decay"),
    ],
)
def test_impossible_chunking_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_adapter(Linear(), **options)


def test_an_ensemble_looks_at_every_step():
    adapter = start(make_adapter(Linear(), ensemble_decay=0.01))
    adapter.act(observe(3), IDS)
    assert adapter.needs_observation(IDS).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"environments": {"SimScale/PickPlace-v0": "def"}}, "scene digest of SimScale/PickPlace-v0: policy abc"),
        ({"environments": {"SimScale/Reach-v0": "abc"}}, "environment: policy serves SimScale/PickPlace-v0"),
        ({"state": Layout((Feature("ee_position", 3, "mm", "world"),))}, r"state: policy ee_position\(3\) \[m\]"),
        ({"cameras": ("wrist", "front")}, "cameras"),
        ({"image_size": (32, 32)}, "image_size"),
        ({"render_profile": "fancy"}, "render_profile"),
        ({"action": "joint velocities"}, "action: policy"),
        ({"control_hz": 10}, "control_hz: policy 20, environment 10"),
        ({"max_episode_steps": 200}, "max_episode_steps"),
    ],
)
def test_any_difference_of_contracts_is_an_error_that_names_both_sides(changes, message):
    check_contract(make_contract(), make_contract())
    with pytest.raises(ContractError, match=message) as error:
        check_contract(make_contract(), make_contract(**changes))
    assert isinstance(error.value, SimScaleError)
