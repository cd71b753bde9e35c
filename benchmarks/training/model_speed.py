"""Compares the speed of the VLA with the plain formulation of the same network (`plain_vla.py`).

Both networks run in turn in one process on the same batch, so the speed of the machine cancels out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.training.plain_vla import PlainVLA
from envs.tabletop.tasks.pick_place_language import TEMPLATES, PickPlaceLanguage
from simscaleai.models.presets import preset_arguments
from simscaleai.models.vla import VisionLanguageAction

TRAINING_ROWS = 64
PREDICTION_ROWS = 16
STATE_DIM = 18
DROPOUT = 0.1
MLP_RATIO = 4.0

_INSTRUCTIONS = [text.format(colour=colour) for text in TEMPLATES for colour in PickPlaceLanguage.colours]


def training_ratio(repeats: int) -> float:
    """Return the time of a training step of the plain network divided by the time of ours in bfloat16.

    Preset `small`, 64 rows, dropout 0.1, every instruction of the language task in the batch.
    """
    model, plain = _pair()
    batch = _observed(TRAINING_ROWS) | {"actions": torch.rand(TRAINING_ROWS, model.action_dim) * 2 - 1}
    return ratio(lambda: _step(plain, batch), lambda: _step(model, batch, bfloat16=True), repeats)


def prediction_ratio(repeats: int) -> float:
    """Return the time of a prediction of the plain network divided by the time of ours.

    Preset `small`, 16 rows, one thread. Our network remembers encoded instructions, as in an evaluation.
    """
    model, plain = _pair()
    model.eval()
    plain.eval()
    batch = _observed(PREDICTION_ROWS)
    model.remember_texts()
    asked = batch["observations"], batch["language"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            return ratio(lambda: plain.predict(*asked), lambda: model.predict(*asked), repeats)
    finally:
        torch.set_num_threads(threads)


def ratio(slow: Callable[[], object], fast: Callable[[], object], repeats: int) -> float:
    """Return the median of `repeats` ratios: the time of `slow` divided by the time of `fast` right after it."""
    slow()
    fast()
    return median(_seconds(slow) / _seconds(fast) for _ in range(repeats))


def _pair() -> tuple[VisionLanguageAction, PlainVLA]:
    torch.manual_seed(0)
    arguments = preset_arguments("small")
    model = VisionLanguageAction(**arguments, state_dim=STATE_DIM, dropout=DROPOUT, mlp_ratio=MLP_RATIO)
    return model, PlainVLA(model, MLP_RATIO, DROPOUT)


def _observed(rows: int) -> dict[str, Any]:
    image: Tensor = torch.rand(rows, 3, 128, 128)
    language = [_INSTRUCTIONS[row % len(_INSTRUCTIONS)] for row in range(rows)]
    return {"observations": {"image": image, "state": torch.randn(rows, STATE_DIM)}, "language": language}


def _step(network: nn.Module, batch: dict[str, Any], *, bfloat16: bool = False) -> None:
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        loss = network(batch)["loss"]
    loss.backward()


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
