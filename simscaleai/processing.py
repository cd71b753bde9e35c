"""Transforms between the arrays of an environment and the tensors of a model, with their inverses.

Owns normalisation and image layout. Training (through `simscaleai.data.WindowSampler`) and evaluation (through the
policy adapter) call the same `Processor`, so a model never sees inputs prepared in two ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from simscaleai.errors import SimScaleError

STD_FLOOR = 0.01
"""Smallest standard deviation that a state is divided by [unit of the entry].

An entry that hardly moves in the demonstrations (the tilt of a cube that lies flat) would otherwise turn the first
centimetre or hundredth of a radian beyond them into a value that no weight was trained for.
"""


@dataclass(frozen=True)
class Affine:
    """The map `(value - offset) / scale` of a vector and its inverse `value * scale + offset`.

    Both directions compute in float64 and round once to float32; entries never mix, so a row does not depend on
    the other rows of its batch.
    """

    offset: tuple[float, ...]
    """What is subtracted from each entry."""
    scale: tuple[float, ...]
    """What each entry is then divided by, > 0."""

    def forward(self, values: ArrayLike) -> NDArray[np.float32]:
        """Map `values` (..., n) from environment to model space."""
        return ((np.asarray(values, np.float64) - self.offset) / self.scale).astype(np.float32)

    def inverse(self, values: ArrayLike) -> NDArray[np.float32]:
        """Map `values` (..., n) from model to environment space."""
        return (np.asarray(values, np.float64) * self.scale + self.offset).astype(np.float32)

    @classmethod
    def standardise(cls, statistics: Mapping[str, Any]) -> Affine:
        """Return the map to zero mean and unit deviation, which leaves constant entries near zero."""
        return cls(tuple(statistics["mean"]), tuple(max(std, STD_FLOOR) for std in statistics["std"]))

    @classmethod
    def from_range(cls, statistics: Mapping[str, Any]) -> Affine:
        """Return the map of [min, max] to [-1, 1]; a constant entry maps to zero."""
        bounds = list(zip(statistics["min"], statistics["max"], strict=True))
        return cls(
            tuple((low + high) / 2 for low, high in bounds),
            tuple((high - low) / 2 if high > low else 1.0 for low, high in bounds),
        )

    def to_config(self) -> dict[str, list[float]]:
        """Return the map as plain JSON data."""
        return {"offset": list(self.offset), "scale": list(self.scale)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Affine:
        """Rebuild a map from `to_config`.

        Raises:
            SimScaleError: If the numbers cannot be those of an invertible map.
        """
        offset, scale = np.asarray(config["offset"], np.float64), np.asarray(config["scale"], np.float64)
        finite = np.isfinite(offset).all() and np.isfinite(scale).all()
        if offset.ndim != 1 or offset.shape != scale.shape or not finite or not (scale > 0).all():
            raise SimScaleError("a normalisation needs as many finite offsets as positive finite scales")
        return cls(tuple(offset.tolist()), tuple(scale.tolist()))


@dataclass(frozen=True)
class Processor:
    """Everything that stands between one contract's arrays and one model's tensors."""

    vectors: Mapping[str, Affine]
    """Normalisation of each vector observation, in the order in which they join into the model's `state`."""
    image_shape: tuple[int, int, int] | None
    """Height, width and channels of `image`; None for a policy without images."""
    action: Affine | None
    """Normalisation of actions; None where they already lie in [-1, 1]."""

    @classmethod
    def fit(cls, contract: Mapping[str, Any], statistics: Mapping[str, Any]) -> Processor:
        """Return the processor for a policy with `contract`, from the `statistics` of its demonstrations.

        Actions within [-1, 1] stay as they are; others are mapped there by their range, since a head that ends in
        tanh or a clamp cannot say more.

        Args:
            contract: The policy's contract, as plain JSON data.
            statistics: Dataset key to `min`, `max`, `mean`, `std`, as a dataset stores them.
        """
        keys = ["state"] + (["environment_state"] if contract.get("environment_state") else [])
        image_shape = None
        if contract.get("cameras"):
            image_shape = (*contract["image_size"], 3 * len(contract["cameras"]))
        action = statistics["action"]
        inside = min(action["min"]) >= -1 and max(action["max"]) <= 1
        return cls(
            vectors={key: Affine.standardise(statistics[f"observation.{key}"]) for key in keys},
            image_shape=image_shape,
            action=None if inside else Affine.from_range(action),
        )

    @property
    def state_dim(self) -> int:
        """Length of the model's `state`."""
        return sum(len(affine.offset) for affine in self.vectors.values())

    def observations(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
        """Return the model's observations for a batch of environment observations.

        Args:
            arrays: `state` (N, D), `environment_state` (N, E) and `image` (N, H, W, C) uint8, as far as the
                contract names them. Other keys are left alone.

        Returns:
            `state` (N, D + E) float32, normalised, and `image` (N, C, H, W) float32 in [0, 1].

        Raises:
            SimScaleError: If an array is missing or has the wrong shape or dtype.
        """
        parts = [affine.forward(self._vector(arrays, key)) for key, affine in self.vectors.items()]
        observations = {"state": torch.from_numpy(np.concatenate(parts, axis=-1))}
        if self.image_shape is not None:
            observations["image"] = _to_channels_first(self._image(arrays))
        return observations

    def actions(self, actions: ArrayLike) -> torch.Tensor:
        """Map environment actions (..., A) to model space, float32."""
        if self.action is None:
            return torch.from_numpy(np.array(actions, np.float32))
        return torch.from_numpy(self.action.forward(actions))

    def inverse_actions(self, actions: torch.Tensor) -> NDArray[np.float32]:
        """Map a model's actions (..., A) to the environment: the inverse of `actions`."""
        values = actions.detach().to("cpu", torch.float32).numpy()
        return values.copy() if self.action is None else self.action.inverse(values)

    def to_config(self) -> dict[str, Any]:
        """Return the processor as plain JSON data."""
        return {
            "vectors": {key: affine.to_config() for key, affine in self.vectors.items()},
            "image_shape": None if self.image_shape is None else list(self.image_shape),
            "action": None if self.action is None else self.action.to_config(),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Processor:
        """Rebuild a processor from `to_config`.

        Raises:
            SimScaleError: If the data is not what `to_config` writes.
        """
        try:
            shape, action = config["image_shape"], config["action"]
            return cls(
                vectors={key: Affine.from_config(value) for key, value in config["vectors"].items()},
                image_shape=None if shape is None else _image_shape(shape),
                action=None if action is None else Affine.from_config(action),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise SimScaleError(f"the stored normalisation is damaged: {error}") from error

    def _vector(self, arrays: Mapping[str, NDArray[Any]], key: str) -> NDArray[Any]:
        size, values = len(self.vectors[key].offset), _require(arrays, key)
        if values.ndim != 2 or values.shape[1] != size:
            raise SimScaleError(f"observation {key!r} has shape {values.shape}, expected (N, {size})")
        return values

    def _image(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
        values = _require(arrays, "image")
        if values.dtype != np.uint8 or values.shape[1:] != self.image_shape:
            raise SimScaleError(
                f"observation 'image' is {values.dtype} {values.shape}, expected uint8 (N, *{self.image_shape})"
            )
        return values


def _require(arrays: Mapping[str, NDArray[Any]], key: str) -> NDArray[Any]:
    if key not in arrays:
        raise SimScaleError(f"the policy needs observation {key!r}; the environment gives {sorted(arrays)}")
    return arrays[key]


def _to_channels_first(images: NDArray[np.uint8]) -> torch.Tensor:
    """Return uint8 images (N, H, W, C) as float32 (N, C, H, W) in [0, 1]."""
    channels_first = np.ascontiguousarray(np.moveaxis(images, -1, 1))
    return torch.from_numpy(channels_first / np.float32(255))


def _image_shape(values: Any) -> tuple[int, int, int]:
    height, width, channels = (int(value) for value in values)
    return height, width, channels
