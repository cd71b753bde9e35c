"""Vision-language-action: a ViT, a character-level language encoder and a state token, fused by a transformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from simscaleai.errors import SimScaleError, UnknownNameError
from simscaleai.models.action_model import ActionModel, ActionTargets, Language, image_input, state_input
from simscaleai.models.language import PADDING, SimpleLanguageEncoder, text_lengths
from simscaleai.models.policy_heads.diffusion_head import DiffusionActionHead
from simscaleai.models.policy_heads.mlp_head import MLPActionHead
from simscaleai.models.transformer import Transformer, initialize_weights
from simscaleai.models.vision import PatchEmbedding, VisionEncoder

__all__ = ["PatchEmbedding", "SimpleLanguageEncoder", "VisionEncoder", "VisionLanguageAction"]

MIN_FUSION_LAYERS = 2
MOST_REMEMBERED_TEXTS = 1024
ACTION_HEADS = ("mlp", "diffusion")


class VisionLanguageAction(ActionModel):
    """Images, optional instructions and optional state to actions or chunks of actions.

    The fusion transformer attends over [visual tokens; language tokens; state token]; the CLS token that the vision
    encoder puts in front summarises them for the head. The head works in the normalised action space [-1, 1].

    Language may be missing: an empty text and no text are the same. A `state` is ignored when `state_dim` is 0, an
    instruction when `use_language` is False, so one batch serves every variant.

    The loss averages over rows, steps of the chunk and action dimensions: the squared action error for the MLP head,
    the squared noise error for the diffusion head.

    Source: the design follows RT-2 (Brohan et al. 2023) and OpenVLA (Kim et al. 2024) in small.
    """

    uses_image = True

    def __init__(
        self,
        image_size: int = 128,
        patch_size: int = 16,
        in_channels: int = 3,
        embed_dim: int = 256,
        num_heads: int = 4,
        num_layers: int = 4,
        mlp_ratio: float = 4.0,
        dropout: float = 0.1,
        use_language: bool = True,
        vocab_size: int = 1000,
        max_text_len: int = 64,
        lang_num_layers: int = 2,
        action_dim: int = 4,
        action_head_type: str = "mlp",
        action_horizon: int = 1,
        state_dim: int = 0,
        *,
        patch_projection: str = "linear",
        num_diffusion_steps: int = 100,
        num_inference_steps: int = 10,
        beta_schedule: str = "linear",
        noise_samples: int = 16,
    ) -> None:
        """Build the network.

        Args:
            image_size: Height and width of the image [px].
            patch_size: Height and width of a patch [px]; divides `image_size`.
            in_channels: Channels of the image, 3 per camera.
            embed_dim: Length of a token; a multiple of `num_heads`.
            num_heads: Attention heads.
            num_layers: Layers of the vision encoder; the fusion has half as many, at least 2.
            mlp_ratio: Width of the feed-forward layers over `embed_dim`.
            dropout: Dropout rate, in [0, 1).
            use_language: Whether to read the instruction.
            vocab_size: Rows of the character embedding, at least 45.
            max_text_len: Longest instruction [characters].
            lang_num_layers: Layers of the language encoder.
            action_dim: Dimensions of one action.
            action_head_type: "mlp" or "diffusion".
            action_horizon: Consecutive actions predicted at once.
            state_dim: Length of the state vector; 0 leaves the state out.
            patch_projection: "linear" or, better with few demonstrations, "convolutions"; see `PatchEmbedding`.
            num_diffusion_steps: Timesteps of the diffusion head's schedule.
            num_inference_steps: Denoising steps of the diffusion head.
            beta_schedule: Schedule of the diffusion head, "linear" or, better, "squaredcos_cap_v2".
            noise_samples: Noises drawn per row in the diffusion head's loss.

        Raises:
            SimScaleError: If sizes do not fit together or a name is unknown.
        """
        super().__init__()
        if action_head_type not in ACTION_HEADS:
            raise UnknownNameError("action_head_type", action_head_type, ACTION_HEADS)
        self.image_size, self.in_channels, self.state_dim = image_size, in_channels, state_dim
        self.action_dim, self.action_horizon, self.uses_language = action_dim, action_horizon, use_language
        self._remembered: dict[tuple[int, ...], Tensor] | None = None  # tokens of a text to its features
        self.vision_encoder = VisionEncoder(
            image_size, patch_size, in_channels, embed_dim, num_heads, num_layers, mlp_ratio, dropout, patch_projection
        )
        if use_language:
            self.language_encoder = SimpleLanguageEncoder(
                vocab_size, max_text_len, embed_dim, num_heads, lang_num_layers, mlp_ratio, dropout
            )
        if state_dim:
            self.state_projection = nn.Linear(state_dim, embed_dim)
        fusion_layers = max(MIN_FUSION_LAYERS, num_layers // 2)
        self.fusion = Transformer(embed_dim, num_heads, fusion_layers, mlp_ratio, dropout)
        self.action_head: MLPActionHead | DiffusionActionHead
        if action_head_type == "mlp":
            self.action_head = MLPActionHead(embed_dim, action_horizon * action_dim, embed_dim, dropout=dropout)
        else:
            self.action_head = DiffusionActionHead(
                embed_dim,
                action_horizon * action_dim,
                embed_dim,
                num_diffusion_steps=num_diffusion_steps,
                num_inference_steps=num_inference_steps,
                beta_schedule=beta_schedule,
                noise_samples=noise_samples,
            )
        self.apply(initialize_weights)

    def encode(self, observations: Mapping[str, Tensor], language: Language | None = None) -> Tensor:
        """Return the fused CLS token, (B, embed_dim).

        Raises:
            SimScaleError: If the image or a wanted state is missing, or a shape or a text does not fit.
        """
        visual = self.vision_encoder(image_input(observations, self.in_channels, self.image_size))
        tokens, key_mask = [visual], None
        if self.uses_language and language is not None:
            text, is_text = self._language_tokens(language, len(visual))
            tokens.append(text)
            key_mask = functional.pad(is_text, (visual.shape[1], int(self.state_dim > 0)), value=True)
        if self.state_dim:
            state = state_input(observations, self.state_dim)
            tokens.append(self.state_projection(state).unsqueeze(1))
        return self.fusion(torch.cat(tokens, dim=1), key_mask, num_outputs=1).squeeze(1)  # type: ignore[no-any-return]

    def decode(self, features: Tensor, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return `predicted_actions`, `loss` and `action_mse`.

        For the diffusion head the predicted actions are the denoised estimate from the timestep of the loss.
        """
        targets = ActionTargets.from_batch(batch, self)
        output = self._head_output(features, targets)
        predicted = output["predicted_actions"].view_as(targets.actions)
        action_mse = targets.mean(functional.mse_loss(predicted, targets.actions, reduction="none"))
        return {
            "predicted_actions": self._shaped(predicted),
            "loss": output.get("loss", action_mse),
            "action_mse": action_mse,
        }

    def act(self, features: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return actions, flat (B, action_horizon · action_dim); the diffusion head samples them from `noise`."""
        if isinstance(self.action_head, DiffusionActionHead):
            return self.action_head.sample(features, noise)
        return self.action_head(features)  # type: ignore[no-any-return]

    def noise_shape(self, batch_size: int) -> tuple[int, ...] | None:
        """Return (steps + 1, B, action_horizon · action_dim) for the diffusion head, None for the MLP head."""
        if isinstance(self.action_head, DiffusionActionHead):
            return self.action_head.noise_shape(batch_size)
        return None

    def remember_texts(self) -> None:
        """Keep the features of each instruction; see `ActionModel.remember_texts`."""
        self._remembered = {}

    def train(self, mode: bool = True) -> Self:
        """Set the mode, as in torch; weights that train make what is remembered of texts untrue."""
        if mode:
            self._remembered = None
        return super().train(mode)

    def _head_output(self, features: Tensor, targets: ActionTargets) -> dict[str, Tensor]:
        if isinstance(self.action_head, MLPActionHead):
            return {"predicted_actions": self.action_head(features)}
        valid = None if targets.valid is None else targets.valid.expand_as(targets.actions).flatten(1)
        return self.action_head(features, targets.actions.flatten(1), valid=valid)  # type: ignore[no-any-return]

    def _language_tokens(self, language: Language, batch_size: int) -> tuple[Tensor, Tensor]:
        """Return features (B, L, embed_dim) and which of them are text, bool (B, L).

        Each distinct text is encoded once.
        In training L is the longest text of the batch. In eval mode every text is encoded by itself and L is
        `max_text_len`, so that a row's result does not depend, to the last bit, on the texts of the other rows.
        """
        tokens, rows = self._distinct_tokens(language, batch_size)
        if self.training:
            features = self.language_encoder.features(tokens)
        else:
            features, tokens = self._encoded_singly(tokens)
        return features[rows], (tokens != PADDING)[rows]

    def _distinct_tokens(self, language: Language, batch_size: int) -> tuple[Tensor, Tensor]:
        """Return the distinct texts' tokens (U, L) and, for each row of the batch, which is its own, (B,)."""
        count = 1 if isinstance(language, str) else len(language)
        if count != batch_size and not isinstance(language, str):
            raise SimScaleError(f"language must be one text or one per row: {batch_size} rows, {count} texts")
        if isinstance(language, Tensor):
            tokens, rows = torch.unique(self.language_encoder.tokens(language), dim=0, return_inverse=True)
            return tokens, rows
        texts = [language] * batch_size if isinstance(language, str) else language
        index = {text: position for position, text in enumerate(dict.fromkeys(texts))}
        tokens = self.language_encoder.tokens(list(index))
        return tokens, torch.tensor([index[text] for text in texts], device=tokens.device)

    def _encoded_singly(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (U, max_text_len, embed_dim) and tokens (U, max_text_len), one encoder call per text."""
        width = self.language_encoder.max_text_len
        lengths = text_lengths(tokens).tolist()
        features = [self._encoded(row[: max(length, 1)]) for row, length in zip(tokens, lengths, strict=True)]
        return torch.stack(features), functional.pad(tokens, (0, width - tokens.shape[1]), value=PADDING)

    def _encoded(self, tokens: Tensor) -> Tensor:
        """Return the features (max_text_len, embed_dim) of one text (L,), zeros behind it."""
        remembered = {} if self._remembered is None else self._remembered
        key = tuple(tokens.tolist())
        if key not in remembered:
            if len(remembered) == MOST_REMEMBERED_TEXTS:
                remembered.clear()
            features = self.language_encoder.features(tokens.unsqueeze(0))[0]
            remembered[key] = functional.pad(features, (0, 0, 0, self.language_encoder.max_text_len - len(features)))
        return remembered[key]
