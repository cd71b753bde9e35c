from __future__ import annotations

import copy
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

from simscaleai.training.inputs.order import EpochOrder, prefetch, split_episodes
from simscaleai.training.learner import AveragedModel, learning_rate_at, make_optimizer


@pytest.mark.parametrize(("num_frames", "batch_size"), [(10, 3), (10, 10), (3, 8), (1, 4)])
def test_each_epoch_shows_every_frame_once(num_frames: int, batch_size: int) -> None:
    frames = np.arange(num_frames) + 100
    order = EpochOrder(frames, batch_size, seed=5)
    shown = np.concatenate([order(step) for step in range(4 * num_frames)])
    epochs = shown[: 4 * num_frames].reshape(4, num_frames)
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), frames)
    if num_frames == 10:
        assert len({tuple(epoch) for epoch in epochs.tolist()}) == 4


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    frames = np.arange(50)
    ahead = EpochOrder(frames, 8, seed=1)
    for step in range(20):
        ahead(step)
    np.testing.assert_array_equal(ahead(3), EpochOrder(frames, 8, seed=1)(3))
    assert not np.array_equal(ahead(3), EpochOrder(frames, 8, seed=2)(3))


@pytest.mark.parametrize(
    ("episodes", "fraction", "held_out"), [(100, 0.05, 5), (100, 0.0, 0), (10, 0.01, 1), (1, 0.5, 0), (3, 0.9, 2)]
)
def test_episodes_are_split_without_overlap(episodes: int, fraction: float, held_out: int) -> None:
    training, validation = split_episodes(episodes, fraction, seed=0)
    assert len(validation) == held_out
    assert sorted([*training, *validation]) == list(range(episodes))


def test_prefetched_items_come_in_order_and_not_far_ahead() -> None:
    made: list[int] = []

    def make(step: int) -> int:
        made.append(step)
        return step * step

    items = prefetch(make, range(10), depth=3)
    assert next(items) == 0
    time.sleep(0.05)
    assert made == [0, 1, 2, 3]
    assert list(items) == [step * step for step in range(1, 10)]


def test_an_error_while_prefetching_reaches_the_consumer_and_the_thread_ends() -> None:
    def make(step: int) -> int:
        if step == 2:
            raise KeyError("broken batch")
        return step

    items = prefetch(make, range(10))
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(KeyError, match="broken batch"):
        next(items)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    rates = [learning_rate_at(step, highest=2.0, warmup_steps=10, steps=100) for step in range(100)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) * 0.2)
    assert rates[10] == 2.0
    assert all(np.diff(rates[10:]) < 0)
    assert rates[55] == pytest.approx(1.0)
    assert 0 < rates[-1] < 1e-3 * 2
    assert learning_rate_at(0, highest=2.0, warmup_steps=0, steps=1) == 2.0


def test_the_average_follows_its_formula_and_copies_buffers() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    expected = copy.deepcopy(model)
    average = AveragedModel(model, decay=0.5)
    for step in range(20):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn_like(parameter)
            model[1].running_mean.add_(1)
            decay = min(0.5, (1 + step) / (10 + step))
            for ours, theirs in zip(expected.parameters(), model.parameters(), strict=True):
                ours.copy_(decay * ours + (1 - decay) * theirs)
        average.update(model, step)
    for ours, theirs in zip(average.model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert torch.equal(average.model[1].running_mean, model[1].running_mean)


def test_without_decay_the_average_is_the_last_model() -> None:
    model = nn.Linear(2, 2)
    average = AveragedModel(model, decay=0.0)
    with torch.no_grad():
        model.weight.add_(1)
    average.update(model, 5)
    assert torch.equal(average.model.weight, model.weight)


def test_only_matrices_decay() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    before = copy.deepcopy(model)
    optimizer = make_optimizer(model, weight_decay=0.1)
    for group in optimizer.param_groups:
        group["lr"] = 0.5
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(model[0].weight, before[0].weight * (1 - 0.5 * 0.1))
    for vector, same in ((model[0].bias, before[0].bias), (model[1].weight, before[1].weight)):
        assert torch.equal(vector, same)
