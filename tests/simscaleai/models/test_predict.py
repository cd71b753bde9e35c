"""Predicting leaves a model exactly as it was."""

import pytest
import torch

from simscaleai.models.registry import create_model

VLA = {"image_size": 32, "patch_size": 8, "embed_dim": 32, "num_heads": 2, "num_layers": 2, "dropout": 0.5}


@pytest.fixture(params=["bc", "vla", "vla-diffusion"])
def case(request):
    torch.manual_seed(0)
    if request.param == "bc":
        return create_model("bc", dropout=0.5), {"state": torch.randn(8, 20)}, None
    head = "diffusion" if request.param == "vla-diffusion" else "mlp"
    model = create_model("vla", action_head_type=head, **VLA)
    shape = model.noise_shape(8)
    return model, {"image": torch.rand(8, 3, 32, 32)}, None if shape is None else torch.randn(shape)


@pytest.mark.parametrize("training", [False, True])
def test_gives_the_mode_back(case, training):
    model, observations, noise = case
    model.train(training)
    frozen = next(iter(model.children()))
    frozen.eval()
    modes = [module.training for module in model.modules()]
    actions = model.predict(observations, noise=noise)
    assert [module.training for module in model.modules()] == modes
    assert not actions.requires_grad
    assert torch.is_grad_enabled()


def test_runs_in_eval_mode(case):
    model, observations, noise = case
    model.train()
    actions = model.predict(observations, noise=noise)
    assert torch.equal(model.predict(observations, noise=noise), actions)
    assert torch.equal(model.eval().predict(observations, noise=noise), actions)


def test_gives_the_mode_back_after_an_error(case):
    model, _, _ = case
    with pytest.raises(ValueError, match="needs observation"):
        model.predict({})
    assert all(module.training for module in model.modules())
    assert torch.is_grad_enabled()


def test_changes_no_weight_and_no_gradient(case):
    model, observations, noise = case
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.predict(observations, noise=noise)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_new_weights_are_seen_at_once(case):
    model, observations, noise = case
    language = "pick up the cube"
    before = model.predict(observations, language, noise=noise)
    for parameter in model.parameters():
        parameter.data.mul_(1.5)
    assert not torch.allclose(model.predict(observations, language, noise=noise), before)
