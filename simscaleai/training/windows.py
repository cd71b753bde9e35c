"""Makes training batches from a dataset. A sample is an observation and the chunk of actions from its step on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from simscaleai.data import Dataset
from simscaleai.data.keys import ACTION, image_key, vector_key
from simscaleai.processing import Processor

Batch = dict[str, Any]
"""`observations`, `actions`, `language`, `action_is_pad` and `auxiliary_targets`, as models and learners take them."""


class WindowSampler:
    """Makes the batch of any set of frames. The same frames and generator give the same batch."""

    def __init__(
        self,
        dataset: Dataset,
        processor: Processor,
        *,
        action_horizon: int = 1,
        image_shift: int = 0,
        auxiliary_targets: NDArray[np.float32] | None = None,
    ) -> None:
        """Prepare to sample.

        Args:
            dataset: The demonstrations.
            processor: The conversions that the policy will use in evaluation, too. It names the observations.
            action_horizon: Actions in a chunk, H >= 1.
            image_shift: Largest random displacement of each camera's image [px]; 0 switches it off.
            auxiliary_targets: Targets of the auxiliary head, one row per frame, (num_frames, P). A batch holds the rows
                of its frames.
        """
        self._dataset = dataset
        self._processor = processor
        self._action_horizon = action_horizon
        self._image_shift = image_shift
        self._auxiliary_targets = auxiliary_targets

    def batch(self, frames: NDArray[np.intp], rng: np.random.Generator | None = None) -> Batch:
        """Return the batch of `frames`.

        A chunk that reaches beyond the end of its episode repeats the last action, and `action_is_pad` (B, H) marks
        these steps. With an action horizon of 1, actions have shape (B, A) and there is no mask.

        Args:
            frames: Frames of the dataset, shape (B,).
            rng: Source of the random image shifts; None for no shifts.
        """
        observations = self._processor.observations(self._observation_arrays(frames, rng))
        numbers = self._dataset.episode_of_frame[frames]
        steps = frames[:, None] + np.arange(self._action_horizon)
        last = self._dataset.episode_ends[numbers, None] - 1
        actions = self._processor.actions(self._dataset.vectors(ACTION)[np.minimum(steps, last)])
        batch: Batch = {"observations": observations, "language": self._instructions(numbers)}
        if self._auxiliary_targets is not None:
            batch["auxiliary_targets"] = torch.from_numpy(self._auxiliary_targets[frames])
        if self._action_horizon == 1:
            return batch | {"actions": actions[:, 0]}
        return batch | {"actions": actions, "action_is_pad": torch.from_numpy(steps > last)}

    def _observation_arrays(self, frames: NDArray[np.intp], rng: np.random.Generator | None) -> dict[str, NDArray[Any]]:
        arrays = {key: self._dataset.vectors(vector_key(key))[frames] for key in self._processor.vectors}
        for camera in self._processor.cameras:
            images = self._dataset.gather(image_key(camera), frames)
            if rng is not None and self._image_shift:
                images = shift_images(images, self._image_shift, rng)
            arrays[camera] = images
        return arrays

    def _instructions(self, numbers: NDArray[np.intp]) -> list[str]:
        return [self._dataset.episodes[number].metadata["instruction"] for number in numbers.tolist()]


def shift_images(images: NDArray[np.uint8], most: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return `images` (N, H, W, C), each with a random shift of up to `most` pixels per axis and repeated borders.

    Source: Kostrikov et al. (2021), Image Augmentation Is All You Need: pad by repeating, then crop at random.
    """
    count, height, width = images.shape[:3]
    padded = np.pad(images, ((0, 0), (most, most), (most, most), (0, 0)), mode="edge")
    corners = rng.integers(0, 2 * most + 1, size=(count, 2)).tolist()
    return np.stack([image[y : y + height, x : x + width] for image, (y, x) in zip(padded, corners, strict=True)])
