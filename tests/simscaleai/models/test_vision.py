import pytest
import torch
from torch import nn
from torch.nn import functional

from simscaleai.errors import SimScaleError
from simscaleai.models.vla import PatchEmbedding, VisionEncoder


@pytest.mark.parametrize(("image_size", "patch_size", "channels"), [(32, 8, 3), (48, 16, 6), (16, 16, 1)])
def test_patches_have_the_documented_shape(image_size, patch_size, channels):
    embedding = PatchEmbedding(image_size, patch_size, channels, embed_dim=24)
    assert embedding.num_patches == (image_size // patch_size) ** 2
    assert embedding(torch.rand(2, channels, image_size, image_size)).shape == (2, embedding.num_patches, 24)


def test_patches_equal_a_strided_convolution_plus_positions():
    embedding = PatchEmbedding(24, 8, 3, embed_dim=16)
    image = torch.rand(2, 3, 24, 24)
    kernel = embedding.projection.weight.view(16, 3, 8, 8)
    expected = functional.conv2d(image, kernel, embedding.projection.bias, stride=8).flatten(2).transpose(1, 2)
    torch.testing.assert_close(embedding(image), expected + embedding.positions, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("patch_size", [1, 4, 5, 12])
def test_convolutions_see_every_pixel_and_keep_the_order_of_patches(patch_size):
    embedding = PatchEmbedding(4 * patch_size, patch_size, 3, embed_dim=16, projection="convolutions")
    image = torch.rand(1, 3, 4 * patch_size, 4 * patch_size, requires_grad=True)
    tokens = embedding(image)
    assert tokens.shape == (1, 16, 16)
    tokens.square().sum().backward()
    assert (image.grad.abs().sum(dim=1) > 0).all()
    for patch in (0, 6, 15):
        (gradient,) = torch.autograd.grad(embedding(image)[0, patch].square().sum(), image)
        row, column = divmod(int(gradient.abs().sum(dim=(0, 1)).argmax()), 4 * patch_size)
        near = (abs(row // patch_size - patch // 4), abs(column // patch_size - patch % 4))
        assert max(near) <= 1
        assert gradient[..., :: 4 * patch_size - 1, :: 4 * patch_size - 1].count_nonzero() <= 3


def test_unknown_projections_are_named():
    with pytest.raises(SimScaleError, match=r"Unknown patch_projection 'convolution'\. Did you mean 'convolutions'"):
        PatchEmbedding(32, 8, projection="convolution")


def test_positions_are_learned():
    positions = PatchEmbedding(32, 8, 3, 16).positions
    assert isinstance(positions, nn.Parameter)
    assert positions.requires_grad
    assert positions.std().item() == pytest.approx(0.1, rel=0.2)


def test_patches_must_tile_the_image():
    with pytest.raises(SimScaleError, match="multiple of patch_size, got 30 and 8"):
        PatchEmbedding(30, 8)


def test_encoder_gives_cls_and_patches():
    encoder = VisionEncoder(image_size=32, patch_size=8, in_channels=3, embed_dim=24, num_heads=2, num_layers=2)
    assert encoder(torch.rand(2, 3, 32, 32)).shape == (2, 17, 24)


def test_cls_token_sees_every_patch():
    encoder = VisionEncoder(32, 16, 3, 24, 2, 2).eval()
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    encoder(image)[0, 0].square().sum().backward()
    assert (functional.avg_pool2d(image.grad.abs(), 16) > 0).all()


def test_encoder_is_pre_norm_with_gelu():
    encoder = VisionEncoder(32, 8, 3, 24, 2, 2)
    block = encoder.transformer.blocks[0]
    assert isinstance(block.feedforward[1], nn.GELU)
    with torch.no_grad():
        block.attention_norm.weight.zero_()
        block.feedforward_norm.weight.zero_()
        block.attention_norm.bias.zero_()
        block.feedforward_norm.bias.zero_()
        block.attention.qkv.bias.zero_()
        block.attention.output.bias.zero_()
        for linear in (block.feedforward[0], block.feedforward[2]):
            linear.bias.zero_()
    tokens = torch.randn(1, 5, 24)
    assert torch.equal(block(tokens), tokens)  # the skip path is not normalised
