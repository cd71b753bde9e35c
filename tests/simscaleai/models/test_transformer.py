import pytest
import torch
from torch import nn

from simscaleai.errors import SimScaleError
from simscaleai.models.transformer import SelfAttention, Transformer, TransformerBlock, attend, initialize_weights

E, HEADS, LAYERS = 32, 4, 3


@pytest.fixture
def pair():
    """Our transformer and torch's, with the same weights."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(
        E, HEADS, 4 * E, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    reference = nn.TransformerEncoder(layer, LAYERS, norm=nn.LayerNorm(E), enable_nested_tensor=False)
    for parameter in reference.parameters():
        nn.init.normal_(parameter, std=0.3)
    ours = Transformer(E, HEADS, LAYERS, mlp_ratio=4.0, dropout=0.0)
    copied = {}
    for name, value in reference.state_dict().items():
        for theirs, mine in (
            ("layers.", "blocks."),
            ("self_attn.in_proj_", "attention.qkv."),
            ("self_attn.out_proj", "attention.output"),
            ("norm1", "attention_norm"),
            ("norm2", "feedforward_norm"),
            ("linear1", "feedforward.0"),
            ("linear2", "feedforward.2"),
        ):
            name = name.replace(theirs, mine)
        copied[name] = value
    ours.load_state_dict(copied)
    return ours, reference


def test_equals_torchs_pre_norm_encoder(pair):
    ours, reference = pair
    tokens = torch.randn(5, 11, E)
    torch.testing.assert_close(ours(tokens), reference(tokens), rtol=1e-4, atol=1e-4)


def test_equals_torchs_encoder_under_a_mask(pair):
    ours, reference = pair
    tokens, mask = torch.randn(5, 11, E), torch.rand(5, 11) < 0.6
    mask[:, 0] = True
    expected = reference(tokens, src_key_padding_mask=~mask)
    torch.testing.assert_close(ours(tokens, mask)[mask], expected[mask], rtol=1e-4, atol=1e-4)


def test_gradients_equal_torchs(pair):
    ours, reference = pair
    tokens = torch.randn(5, 11, E)
    ours(tokens)[:, 0].square().sum().backward()
    reference(tokens)[:, 0].square().sum().backward()
    expected = reference.layers[1].self_attn.in_proj_weight.grad
    torch.testing.assert_close(ours.blocks[1].attention.qkv.weight.grad, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("masked", [False, True])
def test_asking_for_fewer_outputs_gives_the_same_ones(pair, masked):
    ours, _ = pair
    tokens = torch.randn(5, 11, E)
    mask = None
    if masked:
        mask = torch.rand(5, 11) < 0.6
        mask[:, 0] = True
    partial = ours(tokens, mask, num_outputs=2)
    assert partial.shape == (5, 2, E)
    torch.testing.assert_close(partial, ours(tokens, mask)[:, :2], rtol=1e-4, atol=1e-5)


def test_hidden_tokens_do_not_matter(pair):
    ours, _ = pair
    tokens, mask = torch.randn(5, 11, E), torch.ones(5, 11, dtype=torch.bool)
    mask[:, 7:] = False
    changed = tokens.clone()
    changed[:, 7:] = 100.0
    torch.testing.assert_close(ours(tokens, mask)[:, :7], ours(changed, mask)[:, :7])


@pytest.mark.parametrize("masked", [False, True])
def test_bfloat16_training_path_equals_the_fused_kernel(masked):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 4, 2, 9, 16, dtype=torch.bfloat16, requires_grad=True)
    mask = (torch.arange(9) < 6)[None, None, None] if masked else None
    plain = attend(query, key, value, mask)
    with torch.no_grad():
        fused = attend(query, key, value, mask)
    assert plain.requires_grad
    torch.testing.assert_close(plain, fused, rtol=0.03, atol=0.03)


def test_dropout_acts_in_training_only():
    block = TransformerBlock(E, HEADS, 4.0, dropout=0.5)
    tokens = torch.randn(2, 5, E)
    assert not torch.equal(block(tokens), block(tokens))
    block.eval()
    assert torch.equal(block(tokens), block(tokens))


def test_heads_must_divide_the_embedding():
    with pytest.raises(SimScaleError, match="multiple of num_heads, got 30 and 4"):
        SelfAttention(30, 4)


def test_needs_a_layer():
    with pytest.raises(SimScaleError, match="at least one layer"):
        Transformer(E, HEADS, 0, 4.0, 0.0)


def test_initialization():
    torch.manual_seed(0)
    linear, norm = nn.Linear(200, 300), nn.LayerNorm(50)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    for module in (linear, norm):
        initialize_weights(module)
    assert linear.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert not linear.bias.any()
    assert (norm.weight == 1).all()
    assert not norm.bias.any()
