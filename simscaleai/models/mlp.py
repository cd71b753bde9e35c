"""The multi-layer perceptron that encoders and heads share."""

from __future__ import annotations

from torch import nn


def mlp_layers(
    input_dim: int, hidden_dim: int, n_layers: int, dropout: float, *, normalize: bool = False
) -> list[nn.Module]:
    """Return `n_layers` layers, each Linear, LayerNorm (if `normalize`), GELU and Dropout, of width `hidden_dim`."""
    layers: list[nn.Module] = []
    for _ in range(n_layers):
        layers.append(nn.Linear(input_dim, hidden_dim))
        if normalize:
            layers.append(nn.LayerNorm(hidden_dim))
        layers += [nn.GELU(), nn.Dropout(dropout)]
        input_dim = hidden_dim
    return layers
