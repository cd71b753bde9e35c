"""The deterministic head: a multi-layer perceptron."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from simscaleai.models.mlp import mlp_layers


class MLPActionHead(nn.Module):
    """Multi-layer perceptron from features (B, input_dim) to actions (B, action_dim).

    Hidden layers are normalised. Without normalisation, the signal would vanish because of the small initial weights
    of the VLA, and the whole network would predict the mean action for hundreds of steps.
    """

    def __init__(
        self,
        input_dim: int = 256,
        action_dim: int = 4,
        hidden_dim: int = 256,
        n_layers: int = 2,
        dropout: float = 0.1,
        tanh_output: bool = True,
    ) -> None:
        """Build the head.

        Args:
            input_dim: Length of the backbone's features.
            action_dim: Number of entries to predict.
            hidden_dim: Width of the hidden layers.
            n_layers: Number of hidden layers.
            dropout: Dropout rate, in [0, 1).
            tanh_output: Whether to squash the output into [-1, 1].
        """
        super().__init__()
        self.hidden = nn.Sequential(*mlp_layers(input_dim, hidden_dim, n_layers, dropout, normalize=True))
        self.output = nn.Linear(hidden_dim if n_layers else input_dim, action_dim)
        self.tanh_output = tanh_output

    def forward(self, features: Tensor) -> Tensor:
        """Return float32 actions (B, action_dim)."""
        actions: Tensor = self.output(self.hidden(features)).float()
        return torch.tanh(actions) if self.tanh_output else actions
