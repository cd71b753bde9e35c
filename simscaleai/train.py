"""`python -m simscaleai.train`: demonstrations in, checkpoint out."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import tyro

from simscaleai.errors import SimScaleError
from simscaleai.training.config import TrainConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done or time up, 1 diverged, 2 wrong usage, 130 interrupted."""
    try:
        config = tyro.cli(TrainConfig, args=arguments, prog="python -m simscaleai.train")
        from simscaleai.training.trainer import DivergedError, train

        try:
            result = train(config)
        except DivergedError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    except SimScaleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted. Repeat the command with --resume to continue from the last checkpoint.", file=sys.stderr)
        return 130
    loss = "" if result.validation_loss is None else f", validation loss {result.validation_loss:.4g}"
    print(f"{result.step} of {result.steps} steps in {result.minutes:.1f} min{loss}. Checkpoint: {config.output}")
    if not result.finished:
        print("Time is up. Repeat the command with --resume to continue.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
