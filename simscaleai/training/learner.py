"""The parts of the optimisation: the loss with its auxiliary head, AdamW, the learning rate, and averaged weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from simscaleai.errors import SimScaleError


class Learner(nn.Module):
    """A model and, optionally, an auxiliary head that predicts simulator truth from the features of the model.

    The auxiliary head teaches an image encoder early where objects are. The policy itself never receives simulator
    truth, and the head is discarded after training.
    """

    def __init__(self, model: nn.Module, auxiliary: nn.Module | None = None, auxiliary_weight: float = 0.0) -> None:
        """Combine the two networks.

        Args:
            model: The policy's network.
            auxiliary: Maps features (B, F) to the `auxiliary_targets` (B, P) of a batch.
            auxiliary_weight: Weight of the auxiliary loss.
        """
        super().__init__()
        self.model = model
        self.auxiliary: nn.Module | None = auxiliary
        self.auxiliary_weight = auxiliary_weight

    def forward(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the model's output. `loss` includes the auxiliary loss, which is also returned as `auxiliary_loss`."""
        if self.auxiliary is None:
            output: dict[str, Tensor] = self.model(batch)
            return output
        features = self.model.encode(batch["observations"], batch["language"])  # type: ignore[operator]
        output = self.model.decode(features, batch)  # type: ignore[operator]
        auxiliary = functional.mse_loss(self.auxiliary(features).float(), batch["auxiliary_targets"])
        return output | {"loss": output["loss"] + self.auxiliary_weight * auxiliary, "auxiliary_loss": auxiliary}


def make_auxiliary(model: nn.Module, example: Mapping[str, Any]) -> nn.Module:
    """Return an untrained head that maps the features of `model` to `auxiliary_targets`, sized by the batch `example`.

    Raises:
        SimScaleError: If the model has no `encode` and `decode`.
    """
    if not (hasattr(model, "encode") and hasattr(model, "decode")):
        raise SimScaleError("--auxiliary-weight needs a model with encode() and decode(), such as bc and vla")
    with torch.no_grad():
        features: Tensor = model.encode(example["observations"], example["language"])  # type: ignore[operator]
    num_targets = example["auxiliary_targets"].shape[1]
    return nn.Sequential(nn.Linear(features.shape[1], 256), nn.GELU(), nn.Linear(256, num_targets))


def make_optimizer(learner: nn.Module, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW with weight decay for matrices, and none for vectors (biases, norms)."""
    parameters = list(learner.parameters())
    groups = [
        {"params": [parameter for parameter in parameters if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], betas=(0.9, 0.95), fused=True)


def learning_rate_at(step: int, *, highest: float, warmup_steps: int, steps: int) -> float:
    """Return the learning rate of `step` (counted from 0): linear warm-up, then a cosine that ends near zero."""
    if step < warmup_steps:
        return highest * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return highest * 0.5 * (1 + math.cos(math.pi * progress))


class AveragedModel:
    """Exponential moving average of a model's weights. Its decay starts small and grows to `decay`."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Start from the current weights."""
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Include the weights after `step` (counted from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages: list[Tensor] = list(self.model.parameters())
        weights: list[Tensor] = list(model.parameters())
        torch._foreach_lerp_(averages, weights, 1 - decay)
        for average, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(buffer)
