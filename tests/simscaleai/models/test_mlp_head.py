import torch
from torch import nn

from simscaleai.models.policy_heads.mlp_head import MLPActionHead

FEATURES = torch.randn(8, 16, generator=torch.Generator().manual_seed(0)) * 100


def test_tanh_bounds_the_output():
    bounded = MLPActionHead(16, 4, tanh_output=True, dropout=0.0)
    free = MLPActionHead(16, 4, tanh_output=False, dropout=0.0)
    free.load_state_dict(bounded.state_dict())
    assert bounded(FEATURES).abs().max() <= 1
    assert free(FEATURES).abs().max() > 1
    torch.testing.assert_close(bounded(FEATURES), free(FEATURES).tanh())


def test_has_the_hidden_layers_that_were_asked_for():
    for n_layers in (0, 1, 3):
        head = MLPActionHead(16, 4, hidden_dim=32, n_layers=n_layers)
        linear = [layer for layer in head.modules() if isinstance(layer, nn.Linear)]
        assert len(linear) == n_layers + 1
        assert all(layer.out_features == 32 for layer in linear[:-1])
        assert head(FEATURES).shape == (8, 4)


def test_dropout_acts_in_training_only():
    head = MLPActionHead(16, 4, dropout=0.5)
    assert not torch.equal(head(FEATURES), head(FEATURES))
    head.eval()
    assert torch.equal(head(FEATURES), head(FEATURES))
