"""Behavior cloning: regression of the expert's action, with an MLP for the state and a small CNN for the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from simscaleai.errors import SimScaleError, UnknownNameError
from simscaleai.models.action_model import ActionModel, ActionTargets, Language, image_input, state_input
from simscaleai.models.mlp import mlp_layers

MIN_IMAGE_SIZE = 36
"""Smallest height and width [px] for which the three convolutions leave at least one pixel."""

_LOSSES = {"mse": functional.mse_loss, "l1": functional.l1_loss}


class BehaviorCloning(ActionModel):
    """Regression of actions from the state, the image, or both. It ignores language.

    The output lies in the normalised action space and is unbounded (no tanh); the caller clips it. In a model with
    state and image, the image may be missing, in training and in prediction: a learned "no image" embedding replaces
    its features.

    The loss averages over rows, steps of the chunk and action dimensions. The squared error is often summed over
    dimensions instead; the mean keeps the losses "mse" and "l1" comparable.
    """

    uses_language = False
    is_recordable = True
    is_thread_safe = True

    def __init__(
        self,
        state_dim: int = 20,
        action_dim: int = 4,
        hidden_dim: int = 256,
        n_layers: int = 3,
        use_image: bool = False,
        image_channels: int = 3,
        image_size: int = 128,
        image_embed_dim: int = 128,
        dropout: float = 0.1,
        loss_type: str = "mse",
        *,
        action_horizon: int = 1,
    ) -> None:
        """Build the network.

        Args:
            state_dim: Length of the state vector; 0 for a model without state.
            action_dim: Dimensions of one action.
            hidden_dim: Width of all MLP layers.
            n_layers: Layers of the state encoder.
            use_image: Whether to encode an image as well.
            image_channels: Channels of the image, 3 per camera.
            image_size: Height and width of the image [px], at least `MIN_IMAGE_SIZE`.
            image_embed_dim: Length of the image's embedding.
            dropout: Dropout rate, in [0, 1).
            loss_type: "mse" or "l1".
            action_horizon: Consecutive actions predicted at once.

        Raises:
            SimScaleError: If there is neither state nor image, the image is too small, or the loss is unknown.
        """
        super().__init__()
        if loss_type not in _LOSSES:
            raise UnknownNameError("loss_type", loss_type, _LOSSES)
        if state_dim == 0 and not use_image:
            raise SimScaleError("BC needs an input: state_dim > 0, use_image=True, or both")
        if n_layers < 1:
            raise SimScaleError(f"n_layers must be at least 1, got {n_layers}")
        self.state_dim, self.action_dim, self.action_horizon = state_dim, action_dim, action_horizon
        self.uses_image, self.image_channels, self.image_size = use_image, image_channels, image_size
        self.loss_type = loss_type
        if state_dim:
            self.state_encoder = nn.Sequential(*mlp_layers(state_dim, hidden_dim, n_layers, dropout))
        if use_image:
            self.image_encoder = _image_encoder(image_channels, image_size, image_embed_dim)
            self.no_image = nn.Parameter(torch.zeros(image_embed_dim))
        fused_dim = (hidden_dim if state_dim else 0) + (image_embed_dim if use_image else 0)
        self.fusion = nn.Sequential(*mlp_layers(fused_dim, hidden_dim, 1, dropout))
        self.action_output = nn.Linear(hidden_dim, action_horizon * action_dim)

    def encode(self, observations: Mapping[str, Tensor], language: Language | None = None) -> Tensor:
        """Return the fused features (B, hidden_dim); `language` is ignored."""
        embeddings = []
        if self.state_dim:
            embeddings.append(self.state_encoder(state_input(observations, self.state_dim)))
        if self.uses_image:
            embeddings.append(self._image_embedding(observations))
        return self.fusion(torch.cat(embeddings, dim=-1))  # type: ignore[no-any-return]

    def decode(self, features: Tensor, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return `predicted_actions`, `loss`, `action_mse` and `action_mae`."""
        targets = ActionTargets.from_batch(batch, self)
        predicted = self.act(features).float().view_as(targets.actions)
        means = {
            name: targets.mean(loss(predicted, targets.actions, reduction="none")) for name, loss in _LOSSES.items()
        }
        return {
            "predicted_actions": self._shaped(predicted),
            "loss": means[self.loss_type],
            "action_mse": means["mse"],
            "action_mae": means["l1"],
        }

    def act(self, features: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return actions, flat (B, action_horizon · action_dim); `noise` is ignored."""
        return self.action_output(features)  # type: ignore[no-any-return]

    def _image_embedding(self, observations: Mapping[str, Tensor]) -> Tensor:
        if "image" in observations or not self.state_dim:
            return self.image_encoder(image_input(observations, self.image_channels, self.image_size))  # type: ignore[no-any-return]
        return self.no_image.expand(len(observations["state"]), -1)


def _image_encoder(channels: int, image_size: int, embed_dim: int) -> nn.Sequential:
    """Return the CNN: kernels 8, 4, 3 with strides 4, 2, 1 and 32, 64, 64 channels, pooled to 4×4."""
    if image_size < MIN_IMAGE_SIZE:
        raise SimScaleError(f"image_size must be at least {MIN_IMAGE_SIZE} for BC's convolutions, got {image_size}")
    return nn.Sequential(
        nn.Conv2d(channels, 32, kernel_size=8, stride=4),
        nn.GELU(),
        nn.Conv2d(32, 64, kernel_size=4, stride=2),
        nn.GELU(),
        nn.Conv2d(64, 64, kernel_size=3, stride=1),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(64 * 4 * 4, embed_dim),
    )
