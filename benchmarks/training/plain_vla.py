"""The baseline for the speed of the VLA: the same network with the same weights, in the plain formulation.

The plain formulation uses `torch.nn.TransformerEncoder` for vision, language and fusion, and float32. It encodes the
text of every row at all `max_text_len` positions, and computes all outputs of the last layer although only one is used.
`PlainVLA` takes the weights of a `VisionLanguageAction`. Without dropout, both networks give the same actions; a test
checks this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from simscaleai.models.language import PADDING, tokenize
from simscaleai.models.transformer import Transformer
from simscaleai.models.vla import VisionLanguageAction


class PlainVLA(nn.Module):
    """A `VisionLanguageAction` with linear patches, language, a state and an MLP head, in the plain formulation."""

    def __init__(self, model: VisionLanguageAction, mlp_ratio: float, dropout: float) -> None:
        """Copy the weights of `model`, which was built with `mlp_ratio` and `dropout`."""
        super().__init__()
        vision, language = model.vision_encoder, model.language_encoder
        patches = vision.patch_embedding
        self.max_text_len = language.max_text_len
        self.patch_projection, self.patch_positions = patches.projection, patches.positions
        self.cls_token = vision.cls_token
        self.characters, self.text_positions = language.embedding, language.positions
        self.state_projection, self.action_head = model.state_projection, model.action_head
        self.vision = _plain_encoder(vision.transformer, mlp_ratio, dropout)
        self.language = _plain_encoder(language.transformer, mlp_ratio, dropout)
        self.fusion = _plain_encoder(model.fusion, mlp_ratio, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return `predicted_actions`, flat, and the mean squared error as `loss`."""
        actions = self.predict(batch["observations"], batch["language"])
        return {"predicted_actions": actions, "loss": functional.mse_loss(actions, batch["actions"].flatten(1))}

    def predict(self, obs: Mapping[str, Tensor], language: Sequence[str]) -> Tensor:
        """Return the actions, flat (B, action_horizon · action_dim)."""
        visual = self._visual_tokens(obs["image"] * 2 - 1)
        text, is_padding = self._text_tokens(language)
        state = self.state_projection(obs["state"]).unsqueeze(1)
        ignored = functional.pad(is_padding, (visual.shape[1], 1), value=False)
        fused = self.fusion(torch.cat([visual, text, state], dim=1), src_key_padding_mask=ignored)
        return self.action_head(fused[:, 0])  # type: ignore[no-any-return]

    def _visual_tokens(self, image: Tensor) -> Tensor:
        patches = self.patch_projection(image) + self.patch_positions
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        return self.vision(self.dropout(tokens))  # type: ignore[no-any-return]

    def _text_tokens(self, language: Sequence[str]) -> tuple[Tensor, Tensor]:
        tokens = tokenize(language)
        tokens = functional.pad(tokens, (0, self.max_text_len - tokens.shape[1]), value=PADDING)
        embedded = self.dropout(self.characters(tokens) + self.text_positions)
        is_padding = tokens == PADDING
        return self.language(embedded, src_key_padding_mask=is_padding), is_padding


def _plain_encoder(transformer: Transformer, mlp_ratio: float, dropout: float) -> nn.TransformerEncoder:
    """Return torch's encoder with the weights of `transformer`."""
    attention = transformer.blocks[0].attention
    embed_dim = attention.output.in_features
    layer = nn.TransformerEncoderLayer(
        embed_dim,
        attention.num_heads,
        int(mlp_ratio * embed_dim),
        dropout,
        "gelu",
        batch_first=True,
        norm_first=True,
    )
    plain = nn.TransformerEncoder(layer, len(transformer.blocks), nn.LayerNorm(embed_dim), enable_nested_tensor=False)
    renamed = (
        ("attention_norm", "norm1"),
        ("attention.qkv.", "self_attn.in_proj_"),
        ("attention.output", "self_attn.out_proj"),
        ("feedforward_norm", "norm2"),
        ("feedforward.0", "linear1"),
        ("feedforward.2", "linear2"),
        ("blocks.", "layers."),
    )
    weights = {}
    for name, value in transformer.state_dict().items():
        for ours, torchs in renamed:
            name = name.replace(ours, torchs)
        weights[name] = value
    plain.load_state_dict(weights)
    return plain
