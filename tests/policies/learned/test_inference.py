"""Rows of a model are computed on one thread in full precision, and torch is left as it was."""

import pytest
import torch
from torch import nn

from policies.learned.inference import RowInference, repeatable_arithmetic
from policies.learned.rows import Rows

TILE = 8


def predict(inference, observations):
    with repeatable_arithmetic():
        return inference.predict(observations, Rows({}, [""] * TILE))


class CountsThreads(nn.Module):
    def predict(self, obs):
        return torch.full((len(obs["state"]), 4), float(torch.get_num_threads()))


def test_prediction_runs_on_one_thread_and_gives_the_others_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        rows = {"state": torch.zeros(TILE, 3)}
        inference = RowInference(CountsThreads(), uses_language=False, probe=rows)
        chunks = predict(inference, rows)
        assert (chunks == 1.0).all()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


class Multiplies(nn.Module):
    def predict(self, obs):
        precision = {"highest": 0.0, "medium": 1.0}[torch.get_float32_matmul_precision()]
        product = obs["state"] @ torch.linspace(-1, 1, 12).reshape(3, 4)
        return torch.cat([product, torch.full((len(product), 1), precision)], 1)


@pytest.mark.parametrize("setting", ["precision", "autocast"])
def test_what_a_program_has_set_for_speed_changes_no_prediction(setting):
    rows = {"state": torch.linspace(0, 1, 3 * TILE).reshape(TILE, 3)}

    def answer():
        return predict(RowInference(Multiplies(), uses_language=False, probe=rows), rows)

    expected = answer()
    if setting == "autocast":
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert (answer() == expected).all()
        return
    torch.set_float32_matmul_precision("medium")
    try:
        assert (answer() == expected).all()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
