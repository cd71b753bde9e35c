"""Vision-language-action model: a ViT, a character-level language encoder and a state token, and their fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from simscaleai.errors import SimScaleError, UnknownNameError
from simscaleai.models.action_model import (
    ActionModel,
    ActionTargets,
    DistinctTexts,
    Language,
    image_input,
    state_input,
)
from simscaleai.models.language import PADDING, SimpleLanguageEncoder, text_lengths
from simscaleai.models.policy_heads.diffusion_head import DiffusionActionHead
from simscaleai.models.policy_heads.mlp_head import MLPActionHead
from simscaleai.models.transformer import Transformer, initialize_weights
from simscaleai.models.vision import PatchEmbedding, VisionEncoder

__all__ = ["PatchEmbedding", "SimpleLanguageEncoder", "VisionEncoder", "VisionLanguageAction"]

MIN_FUSION_LAYERS = 2
MAX_CACHED_TEXTS = 1024
ACTION_HEADS = ("mlp", "diffusion")


class VisionLanguageAction(ActionModel):
    """Maps images, optional instructions and an optional state to actions or chunks of actions.

    The fusion transformer attends over [visual tokens; language tokens; state token]. The head gets the features of the
    CLS token, which is the first visual token, and predicts in the normalised action space [-1, 1].

    An empty text has the same effect as no text. The model ignores the `state` if `state_dim` is 0, and the instruction
    if `use_language` is False, so all variants take the same batch.

    The loss averages over rows, steps of the chunk and action dimensions: the squared action error for the MLP head,
    the squared noise error for the diffusion head.

    Source: a small version of the design of RT-2 (Brohan et al. 2023) and OpenVLA (Kim et al. 2024).
    """

    uses_image = True
    is_recordable = True
    is_thread_safe = True

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
            num_layers: Layers of the vision encoder. The fusion has half as many, at least 2.
            mlp_ratio: Width of the feed-forward layers divided by `embed_dim`.
            dropout: Dropout rate, in [0, 1).
            use_language: Whether to read the instruction.
            vocab_size: Rows of the character embedding, at least 45.
            max_text_len: Largest length of an instruction [characters].
            lang_num_layers: Layers of the language encoder.
            action_dim: Dimensions of one action.
            action_head_type: "mlp" or "diffusion".
            action_horizon: Consecutive actions predicted at once.
            state_dim: Length of the state vector; 0 for a model without state.
            patch_projection: "linear", or "convolutions", which needs fewer demonstrations; see `PatchEmbedding`.
            num_diffusion_steps: Timesteps of the diffusion head's schedule.
            num_inference_steps: Denoising steps of the diffusion head.
            beta_schedule: Schedule of the diffusion head: "linear", or "squaredcos_cap_v2", which is more accurate.
            noise_samples: Noises drawn per row in the diffusion head's loss.

        Raises:
            SimScaleError: If sizes do not fit together or a name is unknown.
        """
        super().__init__()
        if action_head_type not in ACTION_HEADS:
            raise UnknownNameError("action_head_type", action_head_type, ACTION_HEADS)
        self.image_size, self.in_channels, self.state_dim = image_size, in_channels, state_dim
        self.action_dim, self.action_horizon, self.uses_language = action_dim, action_horizon, use_language
        self._text_cache: dict[tuple[int, ...], Tensor] | None = None  # maps the tokens of a text to its features
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
        """Return the fused features of the CLS token, (B, embed_dim).

        Raises:
            SimScaleError: If an observation is missing, or a shape or a text does not fit.
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

        The diffusion head predicts actions as the denoised estimate at the timestep of the loss.
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

    def check_texts(self, texts: Sequence[str]) -> None:
        """Check that no text is longer than `max_text_len`; see `ActionModel.check_texts`."""
        if self.uses_language:
            self.language_encoder.tokens(texts)

    def text_tokens(self, texts: Sequence[str]) -> Tensor:
        """Return the tokens of `texts`, (number of texts, L), on the model's device; see `DistinctTexts`.

        Raises:
            SimScaleError: If a text is longer than `max_text_len`.
        """
        return self.language_encoder.tokens(texts)

    def remember_texts(self) -> None:
        """Cache the features of each instruction; see `ActionModel.remember_texts`."""
        self._text_cache = {}

    def train(self, mode: bool = True) -> Self:
        """Set the mode, as in torch. Training changes the weights, so it drops cached features of texts."""
        if mode:
            self._text_cache = None
        return super().train(mode)

    def _head_output(self, features: Tensor, targets: ActionTargets) -> dict[str, Tensor]:
        if isinstance(self.action_head, MLPActionHead):
            return {"predicted_actions": self.action_head(features)}
        valid = None if targets.valid is None else targets.valid.expand_as(targets.actions).flatten(1)
        return self.action_head(features, targets.actions.flatten(1), valid=valid)  # type: ignore[no-any-return]

    def _language_tokens(self, language: Language, batch_size: int) -> tuple[Tensor, Tensor]:
        """Return features (B, L, embed_dim) and which of them are text, bool (B, L).

        Each distinct text is encoded once. In training, L is the length of the longest text of the batch. In eval mode,
        every text is encoded separately and L is `max_text_len`, so the result of a row does not depend on the texts of
        the other rows, to the last bit.
        """
        tokens, rows = self._distinct_tokens(language, batch_size)
        if self.training:
            features = self.language_encoder.features(tokens)
        else:
            features, tokens = self._encoded_singly(tokens)
        # The gradient of plain indexing would be summed in another order each time that several threads share the work.
        return features.index_select(0, rows), (tokens != PADDING)[rows]

    def _distinct_tokens(self, language: Language, batch_size: int) -> tuple[Tensor, Tensor]:
        """Return the tokens of the distinct texts (U, L), and the index of the text of each row, (B,)."""
        count = 1 if isinstance(language, str) else len(language)
        if count != batch_size and not isinstance(language, str):
            raise SimScaleError(f"language must be one text or one per row: {batch_size} rows, {count} texts")
        if isinstance(language, DistinctTexts):
            return language.tokens, language.rows
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
        """Return the features (max_text_len, embed_dim) of the tokens (L,) of one text, padded with zeros."""
        cache = {} if self._text_cache is None else self._text_cache
        key = tuple(tokens.tolist())
        features = cache.get(key)  # once, because another thread may clear the cache
        if features is None:
            if len(cache) >= MAX_CACHED_TEXTS:
                cache.clear()
            features = self.language_encoder.features(tokens.unsqueeze(0))[0]
            features = functional.pad(features, (0, 0, 0, self.language_encoder.max_text_len - len(features)))
            cache[key] = features
        return features
