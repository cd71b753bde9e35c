"""Prints sizes or speed of the models.

    python -m benchmarks.training.models           parameters of the VLA presets, counted without allocating them
    python -m benchmarks.training.models --speed   milliseconds per training step and per prediction on this machine

The speed depends on the number of threads: set OMP_NUM_THREADS.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from simscaleai.models.presets import list_presets, preset_arguments
from simscaleai.models.registry import create_model

GUIDE = {"debug": "~200K", "small": "~2M", "medium": "~15M", "large": "~80M", "xl": "~350M"}
"""Numbers of parameters that the scaling guide estimates."""

STEP_ARGUMENTS = {
    "image_size": 64,
    "patch_size": 8,
    "in_channels": 6,
    "embed_dim": 128,
    "num_heads": 4,
    "num_layers": 4,
    "state_dim": 15,
}
TRAINING_ROWS = 64
PREDICTION_ROWS = 8
INSTRUCTION = "pick up the red cube and place it on the goal"


def count_parameters(preset: str) -> int:
    """Return the number of parameters of a VLA preset, which is built on the meta device."""
    with torch.device("meta"):
        model = create_model("vla", **preset_arguments(preset))
    return sum(parameter.numel() for parameter in model.parameters())


def parameter_table() -> str:
    """Return a markdown table of the presets, the guide's estimates and the counts."""
    lines = ["| preset | embed_dim | heads | layers | guide | counted |", "|---|---|---|---|---|---|"]
    for preset in list_presets():
        sizes = " | ".join(str(value) for value in preset_arguments(preset).values())
        lines.append(f"| {preset} | {sizes} | {GUIDE[preset]} | {count_parameters(preset) / 1e6:.2f}M |")
    return "\n".join(lines)


def speed_table() -> str:
    """Return a markdown table of milliseconds per step for the models that are trained on a CPU."""
    lines = [
        f"{torch.get_num_threads()} threads, {STEP_ARGUMENTS}",
        "",
        "| model | dropout | training float32 | training bfloat16 | prediction |",
        "|---|---|---|---|---|",
    ]
    for dropout in (0.0, 0.1):
        for name, model in _models(dropout).items():
            training = [milliseconds(_training_step(model, bfloat16)) for bfloat16 in (False, True)]
            prediction = milliseconds(_prediction(model))
            lines.append(f"| {name} | {dropout} | {training[0]:.0f} | {training[1]:.0f} | {prediction:.0f} |")
    return "\n".join(lines)


def milliseconds(function: Callable[[], Any], repeats: int = 7) -> float:
    """Return the median duration of a call of `function` [ms], after two warm-up calls."""
    durations = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        function()
        durations.append(time.perf_counter() - start)
    return median(durations[2:]) * 1000


def _models(dropout: float) -> dict[str, nn.Module]:
    arguments = {**STEP_ARGUMENTS, "dropout": dropout}
    return {
        "vla, mlp head, no language": create_model("vla", use_language=False, **arguments),
        "vla, mlp head": create_model("vla", **arguments),
        "vla, diffusion head, horizon 8": create_model(
            "vla", action_head_type="diffusion", action_horizon=8, **arguments
        ),
        "bc, image": create_model("bc", state_dim=15, use_image=True, image_channels=6, image_size=64, dropout=dropout),
    }


def _observations(rows: int) -> dict[str, Tensor]:
    return {"image": torch.rand(rows, 6, 64, 64), "state": torch.randn(rows, 15)}


def _training_step(model: nn.Module, bfloat16: bool) -> Callable[[], None]:
    batch = {
        "observations": _observations(TRAINING_ROWS),
        "actions": torch.rand(TRAINING_ROWS, 4) * 2 - 1,
        "language": [INSTRUCTION, INSTRUCTION.replace("red", "green")] * (TRAINING_ROWS // 2),
    }

    def step() -> None:
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = model(batch)["loss"]
        loss.backward()

    return step


def _prediction(model: Any) -> Callable[[], Tensor]:
    observations = _observations(PREDICTION_ROWS)
    return lambda: model.predict(observations, INSTRUCTION)


def main() -> None:
    """Print the table that the command line selects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", action="store_true", help="measure milliseconds per step instead")
    print(speed_table() if parser.parse_args().speed else parameter_table())


if __name__ == "__main__":
    main()
