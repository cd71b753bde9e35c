"""The baseline of the speed of the VLA is the same network."""

import pytest
import torch

from benchmarks.training.plain_vla import PlainVLA
from simscaleai.models.vla import VisionLanguageAction

ROWS = 3
TEXTS = ["pick up the red cube", "stop", "put it down, please"]


@pytest.fixture
def pair():
    torch.manual_seed(0)
    sizes = {"image_size": 32, "patch_size": 8, "embed_dim": 32, "num_heads": 2, "num_layers": 2, "mlp_ratio": 2.0}
    model = VisionLanguageAction(**sizes, dropout=0.0, max_text_len=24, state_dim=5, action_horizon=2)
    return model, PlainVLA(model, mlp_ratio=2.0, dropout=0.0)


def observations():
    return {"image": torch.rand(ROWS, 3, 32, 32), "state": torch.randn(ROWS, 5)}


def test_it_acts_alike(pair):
    model, plain = pair
    plain.eval()
    asked = observations(), TEXTS
    with torch.no_grad():
        torch.testing.assert_close(plain.predict(*asked), model.predict(*asked).flatten(1), atol=1e-6, rtol=1e-5)


def test_it_learns_alike(pair):
    model, plain = pair
    batch = {"observations": observations(), "language": TEXTS, "actions": torch.rand(ROWS, 2, 4) * 2 - 1}
    losses = [network(batch)["loss"] for network in (model, plain)]
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(
        plain.vision.layers[0].linear1.weight.grad,
        model.vision_encoder.transformer.blocks[0].feedforward[0].weight.grad,
    )
