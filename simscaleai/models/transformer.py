"""The transformer of the vision encoder, the language encoder and the fusion: pre-norm, GELU, fused attention.

It computes the same function as `nn.TransformerEncoder` with `norm_first=True`, but only for the tokens that are used
later. The attention weights have no dropout, because the fused attention kernel supports none on a CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from simscaleai.errors import SimScaleError

INIT_STD = 0.02
"""Standard deviation of the truncated normal distribution of the initial weights of linear layers."""

EMBEDDING_STD = 0.1
"""Standard deviation of the initial values of learned positions and of the CLS token.

It is larger than that of the weights, so that tokens differ by their position from the beginning of training. A small
network then learns to find a blob in an image in about 300 steps instead of 400.
"""


class SelfAttention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise SimScaleError(f"embed_dim must be a multiple of num_heads, got {embed_dim} and {num_heads}")
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.output = nn.Linear(embed_dim, embed_dim)

    def forward(self, tokens: Tensor, key_mask: Tensor | None = None, num_outputs: int | None = None) -> Tensor:
        """Return the attention of the first `num_outputs` tokens (all if None) to all tokens.

        Args:
            tokens: (B, T, E).
            key_mask: True for the tokens that are attended to, bool (B, T), at least one per row. None means all.
            num_outputs: Number of leading tokens to return.

        Returns:
            (B, num_outputs, E).
        """
        query, key, value = self._projections(tokens, num_outputs)
        mask = None if key_mask is None else key_mask[:, None, None, :]  # (B, heads, queries, T)
        attended = attend(query, key, value, mask)
        return self.output(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _projections(self, tokens: Tensor, num_outputs: int | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, each (B, heads, T or num_outputs, E / heads)."""
        if num_outputs is None:
            query, key, value = self.qkv(tokens).chunk(3, dim=-1)
        else:
            embed_dim = tokens.shape[-1]
            weights, biases = self.qkv.weight, self.qkv.bias
            query = functional.linear(tokens[:, :num_outputs], weights[:embed_dim], biases[:embed_dim])
            key, value = functional.linear(tokens, weights[embed_dim:], biases[embed_dim:]).chunk(2, dim=-1)
        return self._heads(query), self._heads(key), self._heads(value)

    def _heads(self, projected: Tensor) -> Tensor:
        batch_size, length, _ = projected.shape
        return projected.view(batch_size, length, self.num_heads, -1).transpose(1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Return scaled dot-product attention of operands (B, heads, T, E / heads).

    `mask` is bool, True for keys that are attended to, and is broadcast to the scores.

    The fused kernel is used except for training in bfloat16 on a CPU. There, its backward pass takes five times as long
    as plain matrix products (35 and 7 ms for 64 rows of 65 tokens; in float32 both take 11 ms).
    """
    slow_backward = query.dtype == torch.bfloat16 and query.device.type == "cpu" and torch.is_grad_enabled()
    if not slow_backward:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    scores: Tensor = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(dim=-1).matmul(value)


class TransformerBlock(nn.Module):
    """Pre-norm attention and GELU feed-forward, each with a skip connection."""

    def __init__(self, embed_dim: int, num_heads: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        hidden_dim = int(embed_dim * mlp_ratio)
        self.attention_norm = nn.LayerNorm(embed_dim)
        self.attention = SelfAttention(embed_dim, num_heads)
        self.feedforward_norm = nn.LayerNorm(embed_dim)
        self.feedforward = nn.Sequential(nn.Linear(embed_dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, embed_dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, key_mask: Tensor | None = None, num_outputs: int | None = None) -> Tensor:
        """Return the first `num_outputs` tokens (all if None) after this layer; see `SelfAttention.forward`."""
        attended = self.attention(self.attention_norm(tokens), key_mask, num_outputs)
        tokens = tokens[:, :num_outputs] + self.dropout(attended)
        return tokens + self.dropout(self.feedforward(self.feedforward_norm(tokens)))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """A stack of blocks and a final normalisation."""

    def __init__(self, embed_dim: int, num_heads: int, num_layers: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        if num_layers < 1:
            raise SimScaleError(f"a transformer needs at least one layer, got {num_layers}")
        self.blocks = nn.ModuleList(
            TransformerBlock(embed_dim, num_heads, mlp_ratio, dropout) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(embed_dim)

    def forward(self, tokens: Tensor, key_mask: Tensor | None = None, num_outputs: int | None = None) -> Tensor:
        """Return the first `num_outputs` tokens (all if None) after the last layer, (B, num_outputs, E).

        Args:
            tokens: (B, T, E).
            key_mask: True for the tokens that are attended to, bool (B, T), at least one per row. None means all.
            num_outputs: Number of leading tokens to return. The last layer computes no others.
        """
        *first, last = self.blocks
        for block in first:
            tokens = block(tokens, key_mask)
        return self.norm(last(tokens, key_mask, num_outputs))  # type: ignore[no-any-return]


def initialize_weights(module: nn.Module) -> None:
    """Initialise a linear layer (truncated normal weights, zero biases) or a LayerNorm (ones and zeros) as in ViT."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=INIT_STD)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
    if isinstance(module, nn.Linear | nn.LayerNorm):
        nn.init.zeros_(module.bias)
