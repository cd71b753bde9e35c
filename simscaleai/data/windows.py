"""Cuts training batches out of a dataset: an observation and the chunk of actions that followed it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simscaleai.data.reader import Dataset

if TYPE_CHECKING:
    from simscaleai.processing import Processor

Batch = dict[str, Any]
"""`observations`, `actions`, `action_is_pad` and `language`, as models take them."""


class WindowSampler:
    """Makes the batch of any set of frames; the same frames and generator give the same batch."""

    def __init__(
        self,
        dataset: Dataset,
        contract: Mapping[str, Any],
        processor: Processor,
        *,
        action_horizon: int = 1,
        image_shift: int = 0,
        truth: NDArray[np.float32] | None = None,
    ) -> None:
        """Prepare to sample.

        Args:
            dataset: The demonstrations.
            contract: The policy's contract: which observations it gets.
            processor: The transforms that the policy will use in evaluation, too.
            action_horizon: Actions in a chunk, H >= 1.
            image_shift: Largest random displacement of each camera's image [px]; 0 switches it off.
            truth: What the features shall tell in training beside the actions, a row per frame (num_frames, P); a
                batch holds its rows as `truth`.
        """
        self._dataset = dataset
        self._processor = processor
        self._cameras = tuple(contract.get("cameras") or ())
        self._action_horizon = action_horizon
        self._image_shift = image_shift
        self._truth = truth

    def batch(self, frames: NDArray[np.intp], rng: np.random.Generator | None = None) -> Batch:
        """Return the batch of `frames`.

        A chunk that reaches beyond its episode repeats the last action, and `action_is_pad` (B, H) marks those
        steps. With an action horizon of 1 actions have shape (B, A) and there is no mask.

        Args:
            frames: Frames of the dataset, shape (B,).
            rng: Source of the random image shifts; None for none.
        """
        observations = self._processor.observations(self._observation_arrays(frames, rng))
        numbers = self._dataset.episode_of_frame[frames]
        steps = frames[:, None] + np.arange(self._action_horizon)
        last = self._dataset.episode_ends[numbers, None] - 1
        actions = self._processor.actions(self._dataset.vectors("action")[np.minimum(steps, last)])
        batch: Batch = {"observations": observations, "language": self._instructions(numbers)}
        if self._truth is not None:
            batch["truth"] = _to_tensor(self._truth[frames])
        if self._action_horizon == 1:
            return batch | {"actions": actions[:, 0]}
        return batch | {"actions": actions, "action_is_pad": _to_tensor(steps > last)}

    def _observation_arrays(self, frames: NDArray[np.intp], rng: np.random.Generator | None) -> dict[str, NDArray[Any]]:
        arrays = {key: self._dataset.vectors(f"observation.{key}")[frames] for key in self._processor.vectors}
        images = [self._dataset.gather(f"observation.images.{camera}", frames) for camera in self._cameras]
        if rng is not None and self._image_shift:
            images = [shift_images(image, self._image_shift, rng) for image in images]
        if images:
            arrays["image"] = np.concatenate(images, axis=-1)
        return arrays

    def _instructions(self, numbers: NDArray[np.intp]) -> list[str]:
        return [self._dataset.episodes[number].metadata["instruction"] for number in numbers.tolist()]


def shift_images(images: NDArray[np.uint8], most: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return each of `images` (N, H, W, C) displaced by up to `most` pixels each way, its border repeated.

    Source: Kostrikov et al. (2021), Image Augmentation Is All You Need: pad by repeating, then crop at random.
    """
    count, height, width = images.shape[:3]
    padded = np.pad(images, ((0, 0), (most, most), (most, most), (0, 0)), mode="edge")
    corners = rng.integers(0, 2 * most + 1, size=(count, 2)).tolist()
    return np.stack([image[y : y + height, x : x + width] for image, (y, x) in zip(padded, corners, strict=True)])


def _to_tensor(values: NDArray[Any]) -> Any:
    import torch

    return torch.from_numpy(values)
