import pytest
import torch
from torch import nn

from simscaleai.errors import SimScaleError, UnknownNameError
from simscaleai.models.bc import MIN_IMAGE_SIZE, BehaviorCloning


def batch_of(rows=8, image_size=40, channels=3):
    generator = torch.Generator().manual_seed(0)
    return {
        "observations": {
            "state": torch.randn(rows, 20, generator=generator),
            "image": torch.rand(rows, channels, image_size, image_size, generator=generator),
        },
        "actions": torch.rand(rows, 4, generator=generator) * 2 - 1,
    }


@pytest.fixture(params=["state", "image", "both"])
def model(request):
    torch.manual_seed(0)
    return BehaviorCloning(
        state_dim=0 if request.param == "image" else 20,
        use_image=request.param != "state",
        image_size=40,
        hidden_dim=64,
        dropout=0.0,
    )


def test_learns_one_batch(model):
    batch = batch_of()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(200):
        optimizer.zero_grad()
        if (loss := model(batch)["loss"]) < 1e-3:
            break
        loss.backward()
        optimizer.step()
    assert loss < 1e-3


def test_layers_are_the_documented_ones():
    model = BehaviorCloning(n_layers=5, hidden_dim=32, use_image=True, image_embed_dim=16, dropout=0.3)
    state_layers = [type(layer) for layer in model.state_encoder]
    assert state_layers == [nn.Linear, nn.GELU, nn.Dropout] * 5
    convolutions = [layer for layer in model.image_encoder if isinstance(layer, nn.Conv2d)]
    assert [layer.kernel_size for layer in convolutions] == [(8, 8), (4, 4), (3, 3)]
    assert [layer.stride for layer in convolutions] == [(4, 4), (2, 2), (1, 1)]
    assert [layer.out_channels for layer in convolutions] == [32, 64, 64]
    assert any(isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size == 4 for layer in model.image_encoder)
    assert model.image_encoder[-1].out_features == 16
    assert model.fusion[0].in_features == 32 + 16


@pytest.mark.parametrize("loss_type", ["mse", "l1"])
def test_losses_average_over_action_dimensions(loss_type):
    model = BehaviorCloning(loss_type=loss_type, dropout=0.0)
    batch = batch_of()
    output = model(batch)
    errors = output["predicted_actions"] - batch["actions"]
    torch.testing.assert_close(output["action_mse"], errors.square().mean())
    torch.testing.assert_close(output["action_mae"], errors.abs().mean())
    assert torch.equal(output["loss"], output["action_mse" if loss_type == "mse" else "action_mae"])


def test_the_output_is_not_squashed():
    model = BehaviorCloning()
    nn.init.constant_(model.action_output.bias, 5.0)
    assert model.predict({"state": torch.zeros(1, 20)}).max() > 2


def test_predicts_from_state_alone_with_the_learned_embedding():
    model = BehaviorCloning(use_image=True, image_size=40)
    state = batch_of()["observations"]["state"]
    blind = model.predict({"state": state})
    assert blind.shape == (8, 4)
    with torch.no_grad():
        model.no_image += 1.0
    assert not torch.allclose(model.predict({"state": state}), blind)


def test_the_no_image_embedding_learns():
    model = BehaviorCloning(use_image=True, image_size=40)
    batch = batch_of()
    del batch["observations"]["image"]
    model(batch)["loss"].backward()
    assert model.no_image.grad.abs().sum() > 0


def test_the_image_matters():
    model = BehaviorCloning(use_image=True, image_size=40)
    observations = batch_of()["observations"]
    darker = dict(observations, image=observations["image"] * 0.5)
    assert not torch.allclose(model.predict(observations), model.predict(darker))


def test_predicts_chunks():
    model = BehaviorCloning(action_horizon=5)
    assert model.predict({"state": torch.zeros(3, 20)}).shape == (3, 5, 4)
    assert (model.action_horizon, model.action_dim) == (5, 4)


def test_forward_is_decode_of_encode():
    model = BehaviorCloning(use_image=True, image_size=40, dropout=0.0)
    batch = batch_of()
    features = model.encode(batch["observations"], "ignored")
    assert features.shape == (8, 256)
    assert torch.equal(model.decode(features, batch)["loss"], model(batch)["loss"])


def test_says_what_it_reads():
    assert not BehaviorCloning().uses_image
    assert BehaviorCloning(use_image=True).uses_image
    assert not BehaviorCloning().uses_language
    assert BehaviorCloning().noise_shape(8) is None


def test_the_smallest_image():
    model = BehaviorCloning(use_image=True, image_size=MIN_IMAGE_SIZE)
    assert model.predict(batch_of(image_size=MIN_IMAGE_SIZE)["observations"]).isfinite().all()
    with pytest.raises(SimScaleError, match=r"at least 36 .* got 35"):
        BehaviorCloning(use_image=True, image_size=MIN_IMAGE_SIZE - 1)


@pytest.mark.parametrize(
    ("observations", "message"),
    [
        ({}, "needs observation 'state', got none"),
        ({"state": torch.zeros(2, 19)}, r"'state' must have shape \(B, 20\), got \(2, 19\)"),
        ({"state": torch.zeros(2, 20, dtype=torch.int64)}, "'state' must be floating point, got torch.int64"),
        (
            {"state": torch.zeros(2, 20), "image": torch.zeros(2, 40, 40, 3)},
            r"'image' must have shape \(B, 3, 40, 40\)",
        ),
        ({"state": torch.zeros(2, 20), "image": torch.zeros(2, 3, 40, 40, dtype=torch.uint8)}, "got torch.uint8"),
    ],
)
def test_wrong_observations_are_errors(observations, message):
    model = BehaviorCloning(use_image=True, image_size=40)
    with pytest.raises(SimScaleError, match=message):
        model.predict(observations)


def test_needs_something_to_see():
    with pytest.raises(SimScaleError, match="BC needs an input"):
        BehaviorCloning(state_dim=0)
    with pytest.raises(SimScaleError, match="needs observation 'image'"):
        BehaviorCloning(state_dim=0, use_image=True).predict({"state": torch.zeros(1, 20)})


def test_needs_a_layer():
    with pytest.raises(SimScaleError, match="n_layers must be at least 1, got 0"):
        BehaviorCloning(n_layers=0)


def test_unknown_loss():
    with pytest.raises(UnknownNameError, match="Unknown loss_type 'mae'"):
        BehaviorCloning(loss_type="mae")


def test_noise_is_refused():
    with pytest.raises(SimScaleError, match="deterministic and takes no noise"):
        BehaviorCloning().predict({"state": torch.zeros(1, 20)}, noise=torch.zeros(1))
