"""What a model makes of the actions and the mask of a batch; the same for every model."""

import pytest
import torch

from simscaleai.errors import SimScaleError
from simscaleai.models.action_model import masked_mean
from simscaleai.models.registry import create_model

STATES = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


def model_and_output(horizon, actions, **batch):
    torch.manual_seed(0)
    model = create_model("bc", state_dim=3, action_dim=2, hidden_dim=16, dropout=0.0, action_horizon=horizon)
    return model({"observations": {"state": STATES}, "actions": actions, **batch})


def test_one_action_for_a_longer_horizon_is_held():
    actions = torch.randn(6, 2)
    held = model_and_output(4, actions)
    explicit = model_and_output(4, actions[:, None].repeat(1, 4, 1))
    assert torch.equal(held["loss"], explicit["loss"])
    assert held["predicted_actions"].shape == (6, 4, 2)


def test_a_chunk_of_one_may_keep_its_axis():
    actions = torch.randn(6, 2)
    with_axis = model_and_output(1, actions[:, None])
    assert torch.equal(with_axis["loss"], model_and_output(1, actions)["loss"])
    assert with_axis["predicted_actions"].shape == (6, 2)


@pytest.mark.parametrize("shape", [(6,), (6, 3), (6, 1), (6, 3, 2), (6, 1, 2), (6, 2, 4), (6, 4, 2, 1)])
def test_any_other_shape_is_an_error(shape):
    with pytest.raises(SimScaleError, match=r"actions must have shape \(B, 2\) or \(B, 4, 2\), got"):
        model_and_output(4, torch.randn(shape))


def test_padded_steps_do_not_count():
    actions = torch.randn(6, 4, 2)
    is_pad = torch.zeros(6, 4, dtype=torch.bool)
    is_pad[2:, 3:] = True
    output = model_and_output(4, actions, action_is_pad=is_pad)
    errors = (output["predicted_actions"] - actions)[~is_pad]
    torch.testing.assert_close(output["loss"], errors.square().mean())
    torch.testing.assert_close(output["action_mae"], errors.abs().mean())
    changed = actions.masked_fill(is_pad[..., None], float("nan"))
    assert torch.equal(model_and_output(4, changed, action_is_pad=is_pad)["loss"], output["loss"])


def test_a_batch_of_padding_alone_costs_nothing():
    output = model_and_output(4, torch.randn(6, 4, 2), action_is_pad=torch.ones(6, 4, dtype=torch.bool))
    assert output["loss"].item() == 0


def test_a_mask_of_another_shape_is_an_error():
    with pytest.raises(SimScaleError, match=r"action_is_pad must have shape \(B, H\) = \(6, 4\), got \(6,\)"):
        model_and_output(4, torch.randn(6, 4, 2), action_is_pad=torch.zeros(6, dtype=torch.bool))


def test_missing_actions_are_an_error():
    model = create_model("bc", state_dim=3)
    with pytest.raises(SimScaleError, match="'actions'"):
        model({"observations": {"state": STATES}})


def test_masked_mean():
    values = torch.tensor([[1.0, 3.0], [5.0, float("nan")]])
    assert masked_mean(values, torch.tensor([[True, True], [True, False]])).item() == 3
    assert masked_mean(values[0], None).item() == 2
