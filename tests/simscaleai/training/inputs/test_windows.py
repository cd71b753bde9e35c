from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simscaleai.contract import Needs
from simscaleai.data import Dataset
from simscaleai.processing import Processor
from simscaleai.training.inputs.images import shifted, to_float
from simscaleai.training.inputs.windows import WindowSampler


@pytest.fixture
def dataset(tmp_path: Path, make_needs: Any, make_dataset: Any) -> Dataset:
    return Dataset(make_dataset(tmp_path, make_needs(cameras=("front", "wrist")), episodes=5))


def without_privileged(needs: Needs) -> Needs:
    return replace(needs, vectors={key: needs.vectors[key] for key in needs.vectors if key not in needs.privileged})


def make_sampler(dataset: Dataset, *, privileged: bool = True, **options: Any) -> WindowSampler:
    needs = dataset.needs if privileged else without_privileged(dataset.needs)
    return WindowSampler(dataset, Processor.fit(needs, dataset.statistics), **options)


def test_a_batch_is_what_the_processor_makes_of_the_episodes(dataset: Dataset) -> None:
    frames = np.array([3, 11, 0])
    places = [(0, 3), (2, 0), (0, 0)]
    episodes = [dataset.episode(number) for number, _ in places]
    rows = [
        {key: values[step] for key, values in arrays.items()}
        for arrays, (_, step) in zip(episodes, places, strict=True)
    ]
    stored = {"front": "images.front", "wrist": "images.wrist"} | {key: key for key in dataset.needs.vectors}
    arrays = {key: np.stack([row[f"observation.{name}"] for row in rows]) for key, name in stored.items()}
    expected = Processor.fit(dataset.needs, dataset.statistics).observations(arrays)
    batch = make_sampler(dataset).batch(frames)
    assert batch["observations"].keys() == expected.keys()
    for key, values in expected.items():
        assert torch.equal(batch["observations"][key], values)
    np.testing.assert_array_equal(batch["actions"], [row["action"] for row in rows])
    assert batch["language"] == ["go to goal 0", "go to goal 2", "go to goal 0"]
    assert "action_is_pad" not in batch


@pytest.mark.parametrize("horizon", [2, 4, 20])
def test_chunks_stop_at_the_end_of_their_episode(dataset: Dataset, horizon: int) -> None:
    batch = make_sampler(dataset, action_horizon=horizon).batch(np.arange(dataset.num_frames))
    frame = 0
    for number in range(len(dataset.episodes)):
        actions = dataset.episode(number)["action"]
        for step in range(len(actions)):
            for ahead in range(horizon):
                beyond = step + ahead >= len(actions)
                assert batch["action_is_pad"][frame, ahead] == beyond
                expected = actions[-1] if beyond else actions[step + ahead]
                np.testing.assert_array_equal(batch["actions"][frame, ahead], expected)
            frame += 1


def test_privileged_vectors_can_be_auxiliary_targets_of_a_policy_that_does_not_observe_them(dataset: Dataset) -> None:
    batch = make_sampler(dataset, privileged=False).batch(np.array([1]))
    assert batch["observations"]["state"].shape == (1, 3)
    assert "auxiliary_targets" not in batch
    sampler = make_sampler(dataset, privileged=False, auxiliary_targets=dataset.positions / 2)
    batch = sampler.batch(np.array([1]))
    assert batch["observations"]["state"].shape == (1, 3)
    expected = dataset.episode(0)["observation.environment_state"][1:2] / 2
    np.testing.assert_array_equal(batch["auxiliary_targets"], expected)


def test_shifting_equals_padding_and_cropping_each_image() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 2, 8, 10, 3), dtype=np.uint8)
    corners = rng.integers(0, 5, (20, 2, 2))
    moved = shifted(torch.from_numpy(images), torch.from_numpy(corners), 2).numpy()
    for place in np.ndindex(20, 2):
        padded = np.pad(images[place], ((2, 2), (2, 2), (0, 0)), mode="edge")
        y, x = corners[place]
        np.testing.assert_array_equal(moved[place], padded[y : y + 8, x : x + 10])


def test_shifts_come_from_the_generator_and_only_from_it(dataset: Dataset) -> None:
    sampler, frames = make_sampler(dataset, image_shift=3), np.arange(8)
    images = [
        sampler.batch(frames, rng)["observations"]["image"]
        for rng in (None, None, *(np.random.default_rng(seed) for seed in (1, 1, 2)))
    ]
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[2], images[3])
    assert not torch.equal(images[0], images[2])
    assert not torch.equal(images[2], images[4])


def test_images_become_floats_exactly_as_in_evaluation(dataset: Dataset) -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 1, 16, 16, 3)
    expected = levels.transpose(0, 1, 4, 2, 3) / np.float32(255)
    np.testing.assert_array_equal(to_float(torch.from_numpy(levels)).numpy(), expected)


def test_augmentations_change_training_images_alone_and_come_from_the_generator(dataset: Dataset) -> None:
    sampler, frames = make_sampler(dataset, augmentation=0.5), np.arange(8)
    images = [
        sampler.batch(frames, rng)["observations"]["image"]
        for rng in (None, *(np.random.default_rng(seed) for seed in (1, 1, 2)))
    ]
    assert torch.equal(images[0], make_sampler(dataset).batch(frames)["observations"]["image"])
    assert torch.equal(images[1], images[2])
    assert not torch.equal(images[1], images[3])
    assert (images[1] - images[0]).abs().mean() > 0.02
    assert 0 <= images[1].min() <= images[1].max() <= 1
