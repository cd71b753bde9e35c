"""The base class of the built-in models, and functions that they share: checks of the batch, and masked means.

A batch is `{"observations": {"state": (B, D), "image": (B, C, H, W)}, "actions": (B, A) or (B, H, A),
"language": list[str], "action_is_pad": (B, H)}`. Images are float in [0, 1]; actions are in the normalised action
space [-1, 1] of the checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from simscaleai.errors import SimScaleError


@dataclass(frozen=True)
class DistinctTexts:
    """The instructions of a batch as tokens, each text once. A model with `text_tokens` gets them in training."""

    tokens: Tensor
    """Integer tokens of the texts, (U, L), with 0 as padding."""
    rows: Tensor
    """Place in `tokens` of the text of each row, int64 (B,)."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)


Language = str | Sequence[str] | Tensor | DistinctTexts
"""One instruction for all rows, one instruction per row, integer tokens (B, L) with 0 as padding, or distinct texts."""


class ActionModel(nn.Module):
    """A network from observations to actions. An auxiliary head may use the features between `encode` and `decode`."""

    action_dim: int
    """Number of entries of one action, A."""
    action_horizon: int
    """Number of consecutive actions predicted at once."""
    uses_image: bool
    """Whether the observation `image` is read."""
    uses_language: bool
    """Whether the instruction is read."""
    is_recordable: bool = False
    """Whether `forward` does the same operations for all batches of the same shapes and reads no value on the host. A
    CUDA graph can then record a training step."""
    is_thread_safe: bool = False
    """Whether several threads may call `predict` at the same time, in eval mode."""

    def encode(self, observations: Mapping[str, Tensor], language: Language | None = None) -> Tensor:
        """Return the features (B, F) from which actions are decoded."""
        raise NotImplementedError

    def decode(self, features: Tensor, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the predicted actions, the loss and the metrics for the `features` of `batch`."""
        raise NotImplementedError

    def act(self, features: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return actions, flat (B, action_horizon · action_dim), from features."""
        raise NotImplementedError

    def noise_shape(self, batch_size: int) -> tuple[int, ...] | None:
        """Return the shape of the `noise` that `predict` takes, or None if the model is deterministic."""
        return None

    def check_texts(self, texts: Sequence[str]) -> None:
        """Check that the model can read `texts`, before a training begins. Models without language ignore the call.

        Raises:
            SimScaleError: If a text does not fit.
        """

    def remember_texts(self) -> None:
        """Let `predict` cache the features of each instruction. Call this when the weights are final.

        The actions stay the same to the last bit. `train()` clears the cache and ends the caching. Models without
        language ignore the call.
        """

    def forward(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return `predicted_actions`, `loss` and metrics for a training batch.

        Raises:
            SimScaleError: If an input is missing or has another shape than the model was built for.
        """
        features = self.encode(batch["observations"], batch.get("language"))
        return self.decode(features, batch)

    def predict(
        self, obs: Mapping[str, Tensor], language: Language | None = None, *, noise: Tensor | None = None
    ) -> Tensor:
        """Return actions for a batch of observations, without gradients and in eval mode.

        Afterwards every submodule has the mode that it had before, so a prediction during training changes nothing.

        Args:
            obs: `state` (B, D) and `image` (B, C, H, W) float in [0, 1], as the model was built for.
            language: One instruction for all rows, a list with one per row, or tokens (B, L). Only models that use
                language read it.
            noise: Standard normal numbers of shape `noise_shape(B)`, for models that sample. The result is then a
                function of the inputs alone. Without `noise`, torch's global generator is used.

        Returns:
            Actions in [-1, 1] for bounded heads, (B, action_dim), or (B, action_horizon, action_dim) if the horizon
            exceeds 1.

        Raises:
            SimScaleError: If an input is missing or has the wrong shape, or `noise` is given to a deterministic model.
        """
        with _inference(self):
            features = self.encode(obs, language)
            self._check_noise(noise, len(features))
            return self._shaped(self.act(features, noise).float())

    def _check_noise(self, noise: Tensor | None, batch_size: int) -> None:
        expected = self.noise_shape(batch_size)
        if noise is not None and expected is None:
            raise SimScaleError("the model is deterministic and takes no noise")
        if noise is not None and tuple(noise.shape) != expected:
            raise SimScaleError(f"noise must have shape {expected}, got {tuple(noise.shape)}")

    def _shaped(self, actions: Tensor) -> Tensor:
        """Return actions as (B, action_dim) if the horizon is 1, else as (B, action_horizon, action_dim)."""
        if self.action_horizon == 1:
            return actions.reshape(-1, self.action_dim)
        return actions.reshape(-1, self.action_horizon, self.action_dim)


@dataclass(frozen=True)
class ActionTargets:
    """The actions that a model should predict for a batch, and the steps of the chunks that count in the loss."""

    actions: Tensor
    """Float32, (B, action_horizon, action_dim)."""
    valid: Tensor | None
    """Steps that count, bool (B, action_horizon, 1); None if all steps count."""

    @classmethod
    def from_batch(cls, batch: Mapping[str, Any], model: ActionModel) -> ActionTargets:
        """Read `actions` and `action_is_pad`.

        For a model with a longer horizon, actions (B, action_dim) mean the same action at every step of the chunk.

        Raises:
            SimScaleError: If the actions are missing, or an array has another shape.
        """
        if "actions" not in batch:
            raise SimScaleError("a training batch needs 'actions'; call predict() to act without them")
        actions = _chunks(batch["actions"].float(), model.action_horizon, model.action_dim)
        is_pad = batch.get("action_is_pad")
        if is_pad is None:
            return cls(actions, None)
        if is_pad.shape != actions.shape[:2]:
            expected = tuple(actions.shape[:2])
            raise SimScaleError(f"action_is_pad must have shape (B, H) = {expected}, got {tuple(is_pad.shape)}")
        return cls(actions, ~is_pad.bool().unsqueeze(-1))

    def mean(self, errors: Tensor) -> Tensor:
        """Return the mean of `errors` (B, action_horizon, action_dim) over the steps that count."""
        return masked_mean(errors, self.valid)


def masked_mean(values: Tensor, valid: Tensor | None) -> Tensor:
    """Return the mean of `values` where `valid` (broadcast) is True; 0 if `valid` is False everywhere."""
    if valid is None:
        return values.mean()
    valid = valid.expand_as(values)
    return values.where(valid, 0.0).sum() / valid.sum().clamp(min=1)


def state_input(observations: Mapping[str, Tensor], state_dim: int) -> Tensor:
    """Return the observation `state` after checking that it is float (B, state_dim)."""
    return _floating(observations, "state", (state_dim,))


def image_input(observations: Mapping[str, Tensor], channels: int, size: int) -> Tensor:
    """Return the observation `image`, float (B, channels, size, size) in [0, 1], scaled to [-1, 1].

    Centred pixels train faster than [0, 1]. Environments give uint8 (H, W, C); the caller converts them.
    """
    return _floating(observations, "image", (channels, size, size)) * 2 - 1


def _floating(observations: Mapping[str, Tensor], key: str, shape: tuple[int, ...]) -> Tensor:
    if key not in observations:
        raise SimScaleError(f"the model needs observation {key!r}, got {', '.join(observations) or 'none'}")
    value = observations[key]
    if tuple(value.shape[1:]) != shape:
        raise SimScaleError(
            f"observation {key!r} must have shape (B, {str(shape)[1:-1].rstrip(',')}), got {tuple(value.shape)}"
        )
    if not value.is_floating_point():
        raise SimScaleError(f"observation {key!r} must be floating point, got {value.dtype}")
    return value


def _chunks(actions: Tensor, horizon: int, action_dim: int) -> Tensor:
    if actions.ndim == 2 and actions.shape[1] == action_dim:
        return actions.unsqueeze(1).expand(-1, horizon, -1)
    if actions.ndim == 3 and actions.shape[1:] == (horizon, action_dim):
        return actions
    raise SimScaleError(
        f"actions must have shape (B, {action_dim}) or (B, {horizon}, {action_dim}), got {tuple(actions.shape)}"
    )


@contextmanager
def _inference(model: nn.Module) -> Iterator[None]:
    """Run without gradients and in eval mode, then restore the mode of each submodule."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True
