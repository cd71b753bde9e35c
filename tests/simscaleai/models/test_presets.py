import pytest
import torch

from simscaleai.models.presets import list_presets, preset_arguments
from simscaleai.models.registry import create_model

GUIDE = [("debug", 64, 2, 2), ("small", 128, 4, 4), ("medium", 256, 8, 8), ("large", 512, 16, 12), ("xl", 1024, 16, 24)]


def test_presets_are_those_of_the_scaling_guide():
    assert list_presets() == [name for name, *_ in GUIDE]
    for name, embed_dim, heads, layers in GUIDE:
        assert preset_arguments(name) == {"embed_dim": embed_dim, "num_heads": heads, "num_layers": layers}


def test_a_preset_cannot_be_changed_by_its_user():
    preset_arguments("debug")["embed_dim"] = 1
    assert preset_arguments("debug")["embed_dim"] == 64


def test_unknown_preset():
    with pytest.raises(ValueError, match=r"Unknown preset 'smal'. Did you mean 'small'"):
        preset_arguments("smal")


@pytest.mark.parametrize("name", list_presets())
def test_presets_build_on_the_meta_device(name):
    with torch.device("meta"):
        model = create_model("vla", **preset_arguments(name))
    assert all(parameter.is_meta for parameter in model.parameters())


def test_a_model_built_on_the_meta_device_works_once_it_has_weights():
    arguments = {**preset_arguments("debug"), "action_head_type": "diffusion", "image_size": 32}
    torch.manual_seed(0)
    expected = create_model("vla", **arguments)
    with torch.device("meta"):
        model = create_model("vla", **arguments)
    model.load_state_dict(expected.state_dict(), assign=True)
    observations, noise = {"image": torch.rand(2, 3, 32, 32)}, torch.randn(expected.noise_shape(2))
    assert torch.equal(model.predict(observations, noise=noise), expected.predict(observations, noise=noise))
