"""Images to tokens: patches and a ViT encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from simscaleai.errors import SimScaleError
from simscaleai.models.transformer import EMBEDDING_STD, Transformer


class PatchEmbedding(nn.Module):
    """Project non-overlapping patches and add learned positions: (B, C, H, W) to (B, num_patches, embed_dim)."""

    def __init__(self, image_size: int = 128, patch_size: int = 16, in_channels: int = 3, embed_dim: int = 256) -> None:
        """Build the projection; `num_patches = (image_size / patch_size)²`.

        Raises:
            SimScaleError: If the patches do not tile the image.
        """
        super().__init__()
        if image_size % patch_size:
            raise SimScaleError(f"image_size must be a multiple of patch_size, got {image_size} and {patch_size}")
        self.patch_size = patch_size
        self.num_patches = (image_size // patch_size) ** 2
        self.projection = nn.Linear(in_channels * patch_size**2, embed_dim)
        self.positions = nn.Parameter(torch.empty(1, self.num_patches, embed_dim))
        nn.init.trunc_normal_(self.positions, std=EMBEDDING_STD)

    def forward(self, image: Tensor) -> Tensor:
        """Return patch tokens, row by row from the top left corner."""
        size = self.patch_size
        batch_size, channels, height, width = image.shape
        patches = image.reshape(batch_size, channels, height // size, size, width // size, size)
        patches = patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # (B, num_patches, C · size²)
        return self.projection(patches) + self.positions  # type: ignore[no-any-return]


class VisionEncoder(nn.Module):
    """ViT: patch tokens and a learned CLS token in front through a transformer, (B, num_patches + 1, embed_dim)."""

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
    ) -> None:
        super().__init__()
        self.patch_embedding = PatchEmbedding(image_size, patch_size, in_channels, embed_dim)
        self.cls_token = nn.Parameter(torch.empty(1, 1, embed_dim))
        nn.init.trunc_normal_(self.cls_token, std=EMBEDDING_STD)
        self.dropout = nn.Dropout(dropout)
        self.transformer = Transformer(embed_dim, num_heads, num_layers, mlp_ratio, dropout)

    def forward(self, image: Tensor) -> Tensor:
        """Return the CLS token and all patch tokens of an image (B, C, H, W)."""
        patches = self.patch_embedding(image)
        cls_token = self.cls_token.to(patches.dtype).expand(len(patches), -1, -1)
        return self.transformer(self.dropout(torch.cat([cls_token, patches], dim=1)))  # type: ignore[no-any-return]
