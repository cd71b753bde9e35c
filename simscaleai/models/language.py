"""Converts instructions to characters, and encodes them with a small transformer.

Index 0 is padding, 1 to 43 are the characters of `CHARACTERS`, 44 is any other character. Padding is masked, so it
never changes the features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from simscaleai.errors import SimScaleError
from simscaleai.models.transformer import EMBEDDING_STD, Transformer

CHARACTERS = " abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
PADDING = 0
UNKNOWN = len(CHARACTERS) + 1
MIN_VOCAB_SIZE = len(CHARACTERS) + 2
"""Number of characters, plus one index for padding and one for unknown characters."""

_INDEX = {character: index for index, character in enumerate(CHARACTERS, start=1)}


def tokenize(texts: Sequence[str]) -> Tensor:
    """Return the character indices of `texts`, padded to the longest text: int64 (B, L ≥ 1). Case is ignored."""
    rows = [[_INDEX.get(character, UNKNOWN) for character in text.lower()] for text in texts]
    width = max([1, *map(len, rows)])
    return torch.tensor([row + [PADDING] * (width - len(row)) for row in rows], dtype=torch.int64)


class SimpleLanguageEncoder(nn.Module):
    """Character-level transformer encoder: texts to (B, L, embed_dim)."""

    def __init__(
        self,
        vocab_size: int = 1000,
        max_text_len: int = 64,
        embed_dim: int = 256,
        num_heads: int = 4,
        num_layers: int = 2,
        mlp_ratio: float = 4.0,
        dropout: float = 0.1,
    ) -> None:
        """Build the encoder.

        Args:
            vocab_size: Rows of the embedding table, at least `MIN_VOCAB_SIZE`. Integer tokens may use all of them.
            max_text_len: Largest length of a text [characters]. A longer text is an error.
            embed_dim: Length of a token's features.
            num_heads: Attention heads.
            num_layers: Transformer layers.
            mlp_ratio: Width of the feed-forward layers divided by `embed_dim`.
            dropout: Dropout rate, in [0, 1).

        Raises:
            SimScaleError: If `vocab_size` is too small for the characters.
        """
        super().__init__()
        if vocab_size < MIN_VOCAB_SIZE:
            raise SimScaleError(
                f"vocab_size must be at least {MIN_VOCAB_SIZE} ({len(CHARACTERS)} characters, padding, unknown), "
                f"got {vocab_size}"
            )
        self.vocab_size, self.max_text_len = vocab_size, max_text_len
        self.embedding = nn.Embedding(vocab_size, embed_dim)
        self.positions = nn.Parameter(torch.empty(1, max_text_len, embed_dim))
        nn.init.trunc_normal_(self.positions, std=EMBEDDING_STD)
        self.dropout = nn.Dropout(dropout)
        self.transformer = Transformer(embed_dim, num_heads, num_layers, mlp_ratio, dropout)

    def forward(self, texts: str | Sequence[str] | Tensor) -> Tensor:
        """Return features (B, L, embed_dim), where L is the length of the longest text of the batch.

        Args:
            texts: Texts, or integer tokens (B, L) with 0 as padding. The features of padding have no meaning.

        Raises:
            SimScaleError: If a text is longer than `max_text_len`, or a token is not in the vocabulary.
        """
        return self.features(self.tokens(texts))

    def features(self, tokens: Tensor) -> Tensor:
        """Return features (B, L, embed_dim) of `tokens` (B, L), the result of `tokens()`."""
        mask = tokens != PADDING
        mask = mask | ~mask.any(dim=1, keepdim=True)  # attention needs at least one token, even for an empty text
        embedded = self.embedding(tokens) + self.positions[:, : tokens.shape[1]]
        return self.transformer(self.dropout(embedded), mask)  # type: ignore[no-any-return]

    def tokens(self, texts: str | Sequence[str] | Tensor) -> Tensor:
        """Return int64 tokens (B, L) on the model's device, where L ≥ 1 is the length of the longest text of the batch.

        Raises:
            SimScaleError: As for `forward`.
        """
        if isinstance(texts, Tensor):
            tokens = self._checked(texts)
        else:
            tokens = tokenize([texts] if isinstance(texts, str) else texts)
        length = int(text_lengths(tokens).max())
        if length > self.max_text_len:
            raise SimScaleError(
                f"a text has {length} characters, the model reads at most max_text_len={self.max_text_len}: shorten "
                f"it, or train a model with --model-arguments max_text_len={length}"
            )
        return tokens[:, : max(length, 1)].to(self.positions.device)

    def _checked(self, tokens: Tensor) -> Tensor:
        if tokens.ndim != 2 or not tokens.numel() or tokens.is_floating_point() or tokens.dtype == torch.bool:
            raise SimScaleError(f"language tokens must be integers (B, L), got {tokens.dtype} {tuple(tokens.shape)}")
        if not 0 <= int(tokens.min()) <= int(tokens.max()) < self.vocab_size:
            raise SimScaleError(
                f"language tokens must be in [0, {self.vocab_size}), got {int(tokens.min())} to {int(tokens.max())}"
            )
        return tokens.to(torch.int64)


def text_lengths(tokens: Tensor) -> Tensor:
    """Return the length of the text in each row of `tokens` (B, L), shape (B,)."""
    positions = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    return ((tokens != PADDING) * positions).amax(dim=1)
