"""Converts images to tokens: patch projections and a ViT encoder."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from simscaleai.errors import SimScaleError, UnknownNameError
from simscaleai.models.transformer import EMBEDDING_STD, Transformer

PATCH_PROJECTIONS = ("linear", "convolutions")


class PatchEmbedding(nn.Module):
    """Projects patches and adds learned positions: (B, C, H, W) to (B, num_patches, embed_dim)."""

    def __init__(
        self,
        image_size: int = 128,
        patch_size: int = 16,
        in_channels: int = 3,
        embed_dim: int = 256,
        projection: str = "linear",
    ) -> None:
        """Build the projection; `num_patches = (image_size / patch_size)²`.

        Args:
            image_size: Height and width of the image [px].
            patch_size: Height and width of a patch [px].
            in_channels: Channels of the image.
            embed_dim: Length of a token.
            projection: "linear" for patches that do not overlap, or "convolutions", which also use neighbouring pixels.

        Raises:
            SimScaleError: If the patches do not tile the image, or the projection is unknown.
        """
        super().__init__()
        if projection not in PATCH_PROJECTIONS:
            raise UnknownNameError("patch_projection", projection, PATCH_PROJECTIONS)
        if image_size % patch_size:
            raise SimScaleError(f"image_size must be a multiple of patch_size, got {image_size} and {patch_size}")
        self.patch_size = patch_size
        self.num_patches = (image_size // patch_size) ** 2
        self.projection: nn.Module
        if projection == "linear":
            self.projection = LinearPatches(patch_size, in_channels, embed_dim)
        else:
            self.projection = ConvolutionalPatches(patch_size, in_channels, embed_dim)
        self.positions = nn.Parameter(torch.empty(1, self.num_patches, embed_dim))
        nn.init.trunc_normal_(self.positions, std=EMBEDDING_STD)

    def forward(self, image: Tensor) -> Tensor:
        """Return patch tokens, row by row from the top left corner."""
        return self.projection(image) + self.positions  # type: ignore[no-any-return]


class LinearPatches(nn.Linear):
    """One linear map of the pixels of a patch: (B, C, H, W) to (B, num_patches, embed_dim)."""

    def __init__(self, patch_size: int, in_channels: int, embed_dim: int) -> None:
        super().__init__(in_channels * patch_size**2, embed_dim)
        self.patch_size = patch_size

    def forward(self, image: Tensor) -> Tensor:
        """Return one token per patch."""
        size = self.patch_size
        batch_size, channels, height, width = image.shape
        patches = image.reshape(batch_size, channels, height // size, size, width // size, size)
        return super().forward(patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2))


class ConvolutionalPatches(nn.Sequential):
    """Small convolutions whose strides multiply to the patch size: (B, C, H, W) to (B, num_patches, embed_dim).

    Convolutions respond to an object in the same way wherever it is. A ViT with a linear projection must learn this
    from data, which takes more demonstrations.

    Source: Xiao et al. 2021, Early Convolutions Help Transformers See Better.
    """

    def __init__(self, patch_size: int, in_channels: int, embed_dim: int) -> None:
        strides = _prime_factors(patch_size)
        widths = [max(16, embed_dim >> (len(strides) - 1 - place)) for place in range(len(strides))]
        layers: list[nn.Module] = []
        for stride, before, after in zip(strides, [in_channels, *widths], widths, strict=False):
            size, padding = (stride, 0) if stride > 2 else (3, 1)  # the kernel covers every pixel
            layers += [nn.Conv2d(before, after, size, stride=stride, padding=padding), nn.GELU()]
        super().__init__(*layers, nn.Conv2d(widths[-1], embed_dim, kernel_size=1))
        for layer in self:
            if isinstance(layer, nn.Conv2d):  # torch's default would shrink differences between images to 1/35
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(cast(Tensor, layer.bias))

    def forward(self, image: Tensor) -> Tensor:
        """Return one token per patch."""
        tokens: Tensor = super().forward(image).flatten(2).transpose(1, 2)  # type: ignore[no-untyped-call]
        return tokens


class VisionEncoder(nn.Module):
    """ViT: a transformer over a learned CLS token and the patch tokens, (B, num_patches + 1, embed_dim)."""

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
        patch_projection: str = "linear",
    ) -> None:
        super().__init__()
        self.patch_embedding = PatchEmbedding(image_size, patch_size, in_channels, embed_dim, patch_projection)
        self.cls_token = nn.Parameter(torch.empty(1, 1, embed_dim))
        nn.init.trunc_normal_(self.cls_token, std=EMBEDDING_STD)
        self.dropout = nn.Dropout(dropout)
        self.transformer = Transformer(embed_dim, num_heads, num_layers, mlp_ratio, dropout)

    def forward(self, image: Tensor) -> Tensor:
        """Return the features of the CLS token and of all patches of images (B, C, H, W)."""
        patches = self.patch_embedding(image)
        cls_token = self.cls_token.to(patches.dtype).expand(len(patches), -1, -1)
        return self.transformer(self.dropout(torch.cat([cls_token, patches], dim=1)))  # type: ignore[no-any-return]


def _prime_factors(number: int) -> list[int]:
    """Return the prime factors of `number` >= 1, ascending; [1] for 1."""
    factors = []
    for candidate in range(2, number + 1):
        while number % candidate == 0:
            factors.append(candidate)
            number //= candidate
    return factors or [1]
