"""What `--model` accepts, and what it says about what it does not."""

import pytest
from torch import nn

import envs
import policies.registry
from policies.adapter import PolicyAdapter
from policies.registry import make_policy
from simscaleai.checkpoint import save_checkpoint
from simscaleai.models.registry import create_model
from simscaleai.processing import Affine, Processor

REACH, PICK_PLACE = (envs.describe(env_id) for env_id in ("SimScale/Reach-v0", "SimScale/PickPlace-v0"))


@pytest.fixture
def checkpoint(tmp_path):
    size = REACH.state.size
    contract = REACH.to_json() | {"environment_state": None, "language": False}
    processor = Processor(vectors={"state": Affine((0.0,) * size, (1.0,) * size)}, image_shape=None, action=None)
    arguments = {"state_dim": size, "hidden_dim": 8, "n_layers": 1}
    save_checkpoint(
        tmp_path / "checkpoints" / "bc-reach",
        model=create_model("bc", **arguments),
        model_name="bc",
        model_arguments=arguments,
        contract=contract,
        processor=processor,
        training={},
    )
    return tmp_path / "checkpoints" / "bc-reach"


@pytest.fixture
def shipped(checkpoint, monkeypatch):
    """Make `checkpoint` the only shipped one."""
    monkeypatch.setattr(policies.registry, "asset_path", lambda name: checkpoint.parent)


def test_a_models_name_finds_the_shipped_checkpoint_for_the_environment(shipped):
    policy = make_policy("bc", checkpoint=None, environment=REACH)
    assert isinstance(policy, PolicyAdapter)
    assert set(policy.contract.environments) == {"SimScale/Reach-v0"}


def test_without_a_shipped_checkpoint_it_says_what_to_do(shipped):
    with pytest.raises(ValueError, match="no shipped 'bc' checkpoint serves SimScale/PickPlace-v0; train one"):
        make_policy("bc", checkpoint=None, environment=PICK_PLACE)


def test_a_shipped_checkpoint_is_a_model_by_its_name(shipped):
    policy = make_policy("bc-reach", checkpoint=None, environment=REACH)
    assert set(policy.contract.environments) == {"SimScale/Reach-v0"}
    with pytest.raises(ValueError, match=r"Unknown policy 'bc-raech'\. Did you mean 'bc-reach'"):
        make_policy("bc-raech", checkpoint=None, environment=REACH)


def test_a_folder_that_is_called_like_a_model_is_no_rival_unless_it_is_a_checkpoint(shipped, checkpoint, monkeypatch):
    monkeypatch.chdir(checkpoint.parent)
    (checkpoint.parent / "bc").mkdir()
    assert isinstance(make_policy("bc", checkpoint=None, environment=REACH), PolicyAdapter)
    with pytest.raises(
        ValueError, match=r"a name and a checkpoint folder here; say --model \./bc-reach for the folder"
    ):
        make_policy("bc-reach", checkpoint=None, environment=REACH)
    assert isinstance(make_policy("./bc-reach", checkpoint=None, environment=REACH), PolicyAdapter)


def test_a_folder_is_a_model(checkpoint):
    assert isinstance(make_policy(str(checkpoint), checkpoint=None, environment=REACH), PolicyAdapter)


@pytest.mark.parametrize(
    ("model", "with_checkpoint", "message"),
    [
        ("scriptd", False, "Unknown policy 'scriptd'. Did you mean 'scripted'"),
        ("vla", True, "holds a 'bc' model, not 'vla'"),
        ("scripted", True, "has no weights"),
        ("no_such_module:x", False, "cannot use policy 'no_such_module:x'"),
        ("numpy:no_such", False, "cannot use policy 'numpy:no_such'"),
        ("numpy:pi", False, "does not make a policy"),
        (":x", False, "cannot use policy ':x'"),
        (".a:b", False, "cannot use policy"),
    ],
)
def test_mistakes_are_one_line(checkpoint, model, with_checkpoint, message):
    with pytest.raises(ValueError, match=message) as error:
        make_policy(model, checkpoint=checkpoint if with_checkpoint else None, environment=REACH)
    assert "\n" not in str(error.value)


class Still(nn.Module):
    """A policy of a user's own, found as module:attribute."""

    def __init__(self, contract):
        super().__init__()
        self.contract = contract

    def reset(self, env_ids, seeds, instructions): ...

    def needs_observation(self, env_ids): ...

    def act(self, observation, env_ids): ...


def test_a_users_own_policy(monkeypatch):
    import types

    module = types.ModuleType("my_policies")
    module.Still = Still
    monkeypatch.setitem(__import__("sys").modules, "my_policies", module)
    assert isinstance(make_policy("my_policies:Still", checkpoint=None, environment=REACH), Still)
