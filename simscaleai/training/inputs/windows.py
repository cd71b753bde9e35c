"""Makes training batches from a dataset. A sample is an observation and the chunk of actions from its step on.

The work is divided: `select` reads on the host what belongs to the chosen frames, images as uint8, and draws random
numbers. `convert` makes the batch from it on the device. Vectors, actions and tokens of all frames, and the images if
they fit, stay on the device and are looked up there.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simscaleai.data import Dataset
from simscaleai.data.keys import ACTION, image_key, vector_key
from simscaleai.processing import CHANNELS, Processor
from simscaleai.training.inputs.augmentation import augmented, draw
from simscaleai.training.inputs.images import empty, shifted, to_float
from simscaleai.training.inputs.texts import Instructions, Tokenize

Batch = dict[str, Any]
"""`observations`, `actions`, `language`, `action_is_pad` and `auxiliary_targets`, as models and learners take them."""

Selection = dict[str, Any]
"""What a batch is made of: numbers of frames and texts, random numbers, images that are not on the device."""

MOST_OF_FREE_MEMORY = 0.6
"""Largest share of the free memory of a device that the images of a dataset may take."""

_FRAMES_PER_BLOCK = 1024
_READERS = 8


class WindowSampler:
    """Makes the batch of any set of frames. The same frames and generator give the same batch."""

    def __init__(
        self,
        dataset: Dataset,
        processor: Processor,
        *,
        action_horizon: int = 1,
        image_shift: int = 0,
        augmentation: float = 0.0,
        auxiliary_targets: NDArray[np.float32] | None = None,
        tokenize: Tokenize | None = None,
        device: torch.device | None = None,
        fixed_shapes: bool = False,
    ) -> None:
        """Prepare to sample.

        Args:
            dataset: The demonstrations.
            processor: The conversions that the policy will use in evaluation, too. It names the observations.
            action_horizon: Actions in a chunk, H >= 1.
            image_shift: Largest random displacement of each camera's image [px]; 0 switches it off.
            augmentation: Strength of the random changes of images, in [0, 1]; 0 switches them off.
            auxiliary_targets: Targets of the auxiliary head, one row per frame, (num_frames, P). A batch holds the rows
                of its frames.
            tokenize: The model's tokenizer of instructions; None for a model that takes text or no language.
            device: Device of the batches; the CPU by default.
            fixed_shapes: Whether all batches of one size must have tensors of the same shapes.
        """
        self._dataset, self._processor = dataset, processor
        self._action_horizon, self._image_shift, self._augmentation = action_horizon, image_shift, augmentation
        self._device = torch.device("cpu") if device is None else device
        self._instructions = Instructions(dataset, tokenize, fixed_shapes=fixed_shapes)
        vectors = {key: dataset.vectors(vector_key(key)) for key in processor.vectors}
        tables = replace(processor, cameras=(), image_size=None).observations(vectors)
        tables["actions"] = processor.actions(dataset.vectors(ACTION))
        tables["last"] = torch.from_numpy(dataset.episode_ends[dataset.episode_of_frame] - 1)
        if auxiliary_targets is not None:
            tables["auxiliary_targets"] = torch.from_numpy(auxiliary_targets)
        self._tables = {name: table.to(self._device) for name, table in tables.items()}
        self._images: Tensor | None = None

    def batch(self, frames: NDArray[np.intp], rng: np.random.Generator | None = None) -> Batch:
        """Return the batch of `frames` on the device; see `select` and `convert`."""
        return self.convert(moved(self.select(frames, rng), self._device))

    def select(self, frames: NDArray[np.intp], rng: np.random.Generator | None = None) -> Selection:
        """Return what the batch of `frames` is made of, on the host. Several threads may call this at once.

        Args:
            frames: Frames of the dataset, shape (B,).
            rng: Source of random image shifts and augmentations; None for none.
        """
        selection: Selection = {"frames": torch.from_numpy(frames), **self._instructions.select(frames)}
        cameras = len(self._processor.cameras)
        if cameras and self._images is None:
            selection["images"] = self._read_images(frames)
        if cameras and rng is not None and self._image_shift:
            size = (len(frames), 2)
            corners = [rng.integers(0, 2 * self._image_shift + 1, size=size) for _ in range(cameras)]
            selection["corners"] = torch.from_numpy(np.stack(corners, axis=1))
        if cameras and rng is not None and self._augmentation:
            selection |= draw(rng, (len(frames), cameras), self._augmentation)
        return selection

    def convert(self, selection: Selection) -> Batch:
        """Return the batch of a `selection`, whose tensors are on the device.

        A chunk that reaches beyond the end of its episode repeats the last action, and `action_is_pad` (B, H) marks
        these steps. With an action horizon of 1, actions have shape (B, A) and there is no mask.
        """
        frames = selection["frames"]
        observations = {"state": self._tables["state"][frames]} if "state" in self._tables else {}
        if self._processor.cameras:
            observations["image"] = self._image(selection)
        steps = frames[:, None] + torch.arange(self._action_horizon, device=self._device)
        last = self._tables["last"][frames][:, None]
        actions = self._tables["actions"][torch.minimum(steps, last)]
        batch: Batch = {"observations": observations, "language": self._instructions.language(selection)}
        if "auxiliary_targets" in self._tables:
            batch["auxiliary_targets"] = self._tables["auxiliary_targets"][frames]
        if self._action_horizon == 1:
            return batch | {"actions": actions[:, 0]}
        return batch | {"actions": actions, "action_is_pad": steps > last}

    def keep_images_on_device(self) -> bool:
        """Copy all images to a GPU if they fit there, and return whether they did. Batches then take them from there.

        On a CPU they stay in the files, which the system keeps in memory.
        """
        shape = (self._dataset.num_frames, *self._image_shape)
        if self._device.type != "cuda" or not self._processor.cameras:
            return False
        if np.prod(shape) > MOST_OF_FREE_MEMORY * torch.cuda.mem_get_info(self._device)[0]:
            return False
        images = torch.empty(shape, dtype=torch.uint8, device=self._device)

        def copy(first: int) -> None:
            last = min(first + _FRAMES_PER_BLOCK, len(images))
            images[first:last].copy_(self._read_images(np.arange(first, last)), non_blocking=True)

        with ThreadPoolExecutor(_READERS) as readers:
            for _ in readers.map(copy, range(0, len(images), _FRAMES_PER_BLOCK)):
                pass
        self._images = images
        return True

    @property
    def _image_shape(self) -> tuple[int, ...]:
        return (len(self._processor.cameras), *(self._processor.image_size or ()), CHANNELS)

    def _read_images(self, frames: NDArray[np.intp]) -> Tensor:
        """Return the images of `frames`, uint8 (B, cameras, H, W, 3), in memory from which the device can copy."""
        images = empty((len(frames), *self._image_shape), torch.uint8, pinned=self._device.type == "cuda")
        for place, camera in enumerate(self._processor.cameras):
            self._dataset.gather(image_key(camera), frames, out=images.numpy()[:, place])
        return images

    def _image(self, selection: Selection) -> Tensor:
        images = selection["images"] if self._images is None else self._images.index_select(0, selection["frames"])
        if "corners" in selection:
            images = shifted(images, selection["corners"], self._image_shift)
        pixels = to_float(images)
        if "colour" in selection:
            pixels = augmented(pixels, **{name: selection[name] for name in ("colour", "contrast", "blur")})
        return pixels.flatten(1, 2)


def moved(selection: Selection, device: torch.device) -> Selection:
    """Return `selection` with its tensors on `device`. The copy may go on while the caller continues."""
    return {
        key: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for key, value in selection.items()
    }
