"""Some rows of the speed table, as ratios with room for a busy machine: a lower one shows that something broke."""

import time

import pytest

from benchmarks.training import model_speed, training_speed

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def processor_time(monkeypatch):
    """Measures what this process computes, which other processes change little."""
    monkeypatch.setattr("time.perf_counter", time.process_time)


def test_training_beats_the_plain_formulation():
    assert model_speed.training_ratio(repeats=3) > 1.2


def test_prediction_beats_the_plain_formulation():
    assert model_speed.prediction_ratio(repeats=7) > 1.3


def test_one_thread_reads_more_images_than_a_gpu_takes():
    assert max(training_speed.input_speed(episodes=8) for _ in range(3)) > 20_000


def test_training_speed_counts_steps():
    assert 0 < training_speed.training_speed(6, episodes=8, batch_size=4, allow_failures=True) < 1000
