"""Trains a policy from demonstrations and writes a checkpoint.

    python -m simscaleai.train --model vla --dataset data/pick_place --output checkpoints/vla

With several GPUs or processes: `torchrun --nproc-per-node 4 -m simscaleai.train ...`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from simscaleai.command_line import exit_code, parse, raise_at_interrupt, say_mistake
from simscaleai.training.config import TrainConfig

if TYPE_CHECKING:
    from simscaleai.training.trainer import TrainingResult


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done or time is up, 1 diverged, 2 wrong usage, 130 interrupted."""
    again = "Interrupted. Repeat the command with --resume to continue from the last checkpoint."
    return exit_code(lambda: _train(arguments), again)


def _train(arguments: Sequence[str] | None) -> int:
    config: TrainConfig = parse(TrainConfig, "python -m simscaleai.train", arguments)
    _limit_spinning()
    from simscaleai.training.distributed import is_first_process
    from simscaleai.training.trainer import DivergedError, train

    raise_at_interrupt()
    try:
        result = train(config)
    except DivergedError as error:
        say_mistake(error)
        return 1
    if is_first_process():
        _print_result(result)
    return 0


def _limit_spinning() -> None:
    """Let threads that wait for each other sleep soon, before torch is loaded, unless the user has said how they wait.

    By default they spin for milliseconds, which makes training 5 to 20 times slower beside other busy processes.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # rounds of GNU's OpenMP, some microseconds; default 300,000


def _print_result(result: TrainingResult) -> None:
    loss = "" if result.validation_loss is None else f", validation loss {result.validation_loss:.4g}"
    print(f"{result.step} of {result.steps} steps in {result.minutes:.1f} min{loss}. Checkpoint: {result.folder}")
    if not result.finished:
        print("Time is up. Repeat the command with --resume to continue.")


if __name__ == "__main__":
    sys.exit(main())
