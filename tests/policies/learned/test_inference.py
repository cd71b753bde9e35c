"""Rows of a model are computed on one thread, and torch is left as it was."""

import torch
from torch import nn

from policies.learned.inference import TILE, EpisodeNoise, RowInference


class CountsThreads(nn.Module):
    def predict(self, obs):
        return torch.full((len(obs["state"]), 4), float(torch.get_num_threads()))


def test_prediction_runs_on_one_thread_and_gives_the_others_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        rows = {"state": torch.zeros(TILE, 3)}
        inference = RowInference(CountsThreads(), uses_language=False, probe=rows)
        chunks = inference.predict(rows, [""] * TILE, [EpisodeNoise(seed) for seed in range(TILE)])
        assert (chunks == 1.0).all()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
