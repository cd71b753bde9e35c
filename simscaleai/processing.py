"""Conversions between environment and model: observations to tensors, and actions in both directions.

Training (through `simscaleai.training.inputs`) and evaluation (through the policy adapter) use the same `Processor`, so
both prepare a model's inputs in the same way. Importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simscaleai.contract import ImageSize, Needs
from simscaleai.data.keys import ACTION, vector_key
from simscaleai.errors import SimScaleError

if TYPE_CHECKING:
    import torch

STD_FLOOR = 0.01
"""Smallest standard deviation by which an entry of a vector is divided [unit of the entry].

Some entries hardly change in the demonstrations, for example the tilt of a cube that lies flat. Division by their own
standard deviation would turn a change of a centimetre or a hundredth of a radian into a value far outside the training
data.
"""

CHANNELS = 3
"""Channels of the image of one camera."""


@dataclass(frozen=True)
class Affine:
    """The map `(value - offset) / scale` of a vector, and its inverse `value * scale + offset`.

    Both directions compute in float64 and round once to float32. Entries never mix, so a row does not depend on the
    other rows of its batch.
    """

    offset: tuple[float, ...]
    """Number that is subtracted from each entry."""
    scale: tuple[float, ...]
    """Number by which each entry is then divided, > 0."""

    def __post_init__(self) -> None:
        """Check that the map can be inverted."""
        if len(self.offset) != len(self.scale) or min(self.scale, default=1) <= 0:
            raise SimScaleError("expected a normalisation with as many offsets as scales, and scales above 0")

    def forward(self, values: ArrayLike) -> NDArray[np.float32]:
        """Map `values` (..., n) from environment to model space."""
        return ((np.asarray(values, np.float64) - self.offset) / self.scale).astype(np.float32)

    def inverse(self, values: ArrayLike) -> NDArray[np.float32]:
        """Map `values` (..., n) from model to environment space."""
        return (np.asarray(values, np.float64) * self.scale + self.offset).astype(np.float32)

    @classmethod
    def standardise(cls, statistics: Mapping[str, Any]) -> Affine:
        """Return the map to zero mean and unit standard deviation. Constant entries stay near zero."""
        return cls(tuple(statistics["mean"]), tuple(max(std, STD_FLOOR) for std in statistics["std"]))

    @classmethod
    def from_range(cls, statistics: Mapping[str, Any]) -> Affine:
        """Return the map of [min, max] to [-1, 1]. A constant entry maps to zero."""
        bounds = list(zip(statistics["min"], statistics["max"], strict=True))
        return cls(
            tuple((low + high) / 2 for low, high in bounds),
            tuple((high - low) / 2 if high > low else 1.0 for low, high in bounds),
        )


@dataclass(frozen=True, kw_only=True)
class Processor:
    """All conversions between the arrays of an environment and the tensors of one model.

    A checkpoint stores its fields as JSON.
    """

    vectors: Mapping[str, Affine]
    """Normalisation of each vector observation, in the order in which they are joined to the model's `state`."""
    cameras: tuple[str, ...] = ()
    """Observation keys of the cameras, in the order in which their channels are joined to the model's `image`."""
    image_size: ImageSize | None = None
    """Height and width of the images of every camera; None without cameras."""
    action: Affine | None = None
    """Normalisation of actions; None if they already lie in [-1, 1]."""

    def __post_init__(self) -> None:
        """Check that there is an image size if there are cameras, and none without cameras."""
        if bool(self.cameras) != (self.image_size is not None):
            raise SimScaleError(f"expected cameras with an image_size, got {self.cameras} and {self.image_size}")

    @classmethod
    def fit(cls, needs: Needs, statistics: Mapping[str, Any]) -> Processor:
        """Return the processor of a policy with `needs`, from the `statistics` of its demonstrations.

        If all actions lie within [-1, 1], they stay as they are. Otherwise their range is mapped to [-1, 1], because
        heads that end in tanh or a clamp give no larger values.

        Args:
            needs: What the policy needs from an environment.
            statistics: Name of an array to its `min`, `max`, `mean` and `std`, as a dataset stores them.

        Raises:
            SimScaleError: If the cameras differ in size.
        """
        sizes = set(needs.cameras.values())
        if len(sizes) > 1:
            listing = ", ".join(f"{key} {height}×{width}" for key, (height, width) in needs.cameras.items())
            raise SimScaleError(
                f"expected cameras of one size, got {listing}; collect again, with --cameras for those of one size"
            )
        action = statistics[ACTION]
        inside = min(action["min"]) >= -1 and max(action["max"]) <= 1
        return cls(
            vectors={key: Affine.standardise(statistics[vector_key(key)]) for key in needs.vectors},
            cameras=tuple(needs.cameras),
            image_size=next(iter(sizes), None),
            action=None if inside else Affine.from_range(action),
        )

    @property
    def state_dim(self) -> int:
        """Length of the model's `state`; 0 without vectors."""
        return sum(len(affine.offset) for affine in self.vectors.values())

    @property
    def image_channels(self) -> int:
        """Channels of the model's `image`; 0 without cameras."""
        return CHANNELS * len(self.cameras)

    def observations(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
        """Return the model's observations for a batch of environment observations.

        Args:
            arrays: Each of `vectors` as an array (N, D), each of `cameras` as uint8 (N, H, W, 3). Other keys are
                ignored.

        Returns:
            `state` (N, sum of all D) float32, normalised, if there are vectors. `image` (N, 3 · cameras, H, W) float32
            in [0, 1], if there are cameras.

        Raises:
            SimScaleError: If an array is missing, or has another shape or dtype.
        """
        import torch

        observations = {}
        if self.vectors:
            vectors = [affine.forward(self._vector(arrays, key)) for key, affine in self.vectors.items()]
            observations["state"] = torch.from_numpy(np.concatenate(vectors, axis=-1))
        if self.cameras:
            observations["image"] = torch.from_numpy(self._joined_images(arrays))
        return observations

    def actions(self, actions: ArrayLike) -> torch.Tensor:
        """Map environment actions (..., A) to model space, float32."""
        import torch

        if self.action is None:
            return torch.from_numpy(np.array(actions, np.float32))
        return torch.from_numpy(self.action.forward(actions))

    def inverse_actions(self, actions: torch.Tensor) -> NDArray[np.float32]:
        """Map a model's actions (..., A) to the environment: the inverse of `actions`."""
        import torch

        values = actions.detach().to("cpu", torch.float32).numpy()
        return values.copy() if self.action is None else self.action.inverse(values)

    def _vector(self, arrays: Mapping[str, NDArray[Any]], key: str) -> NDArray[Any]:
        size, values = len(self.vectors[key].offset), _require(arrays, key)
        if values.ndim != 2 or values.shape[1] != size:
            raise SimScaleError(f"expected observation {key!r} of shape (N, {size}), got {values.shape}")
        return values

    def _joined_images(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return the images of all cameras as float32 (N, channels, H, W) in [0, 1], without temporary copies."""
        pixels = [self._pixels(arrays, key) for key in self.cameras]
        count, height, width = pixels[0].shape[:3]
        joined = np.empty((count, self.image_channels, height, width), np.float32)
        for place, values in enumerate(pixels):
            channels = joined[:, CHANNELS * place : CHANNELS * (place + 1)]
            np.divide(values.transpose(0, 3, 1, 2), np.float32(255), out=channels)
        return joined

    def _pixels(self, arrays: Mapping[str, NDArray[Any]], key: str) -> NDArray[np.uint8]:
        values, shape = _require(arrays, key), (*(self.image_size or ()), CHANNELS)
        if values.dtype != np.uint8 or values.shape[1:] != shape:
            raise SimScaleError(
                f"expected observation {key!r} as uint8 (N, {', '.join(map(str, shape))}), "
                f"got {values.dtype} {values.shape}"
            )
        return values


def _require(arrays: Mapping[str, NDArray[Any]], key: str) -> NDArray[Any]:
    if key not in arrays:
        raise SimScaleError(f"the policy needs observation {key!r}; the environment gives {sorted(arrays)}")
    return arrays[key]
