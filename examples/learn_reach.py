"""Collects demonstrations, trains a policy on them, and compares it with the expert, in two minutes.

    python examples/learn_reach.py [folder]

The commands of the README do the same. In Python, each command is a configuration and a function.
"""

import sys
from pathlib import Path

from eval.collect import CollectConfig, collect
from eval.compare import format_comparison
from eval.comparison.pairing import compare
from eval.rollout import RolloutConfig, run
from eval.runs.reading import read_run
from simscaleai.training.config import TrainConfig
from simscaleai.training.trainer import train

EPISODES = 50


def main(folder: Path) -> None:
    """Write data, checkpoint and runs into `folder`, and print the comparison."""
    data, checkpoint = folder / "data", folder / "bc"
    collect(CollectConfig(env="reach", episodes=200, cameras=(), action_noise=0.2, output=data))
    train(
        TrainConfig(
            model="bc",
            dataset=(data,),
            output=checkpoint,
            steps=1500,
            batch_size=256,
            learning_rate=1e-3,
            model_arguments=("dropout=0",),
        )
    )
    for name, model in (("expert", "scripted"), ("learned", str(checkpoint))):
        run(RolloutConfig(model=model, env="reach", episodes=EPISODES, output=folder / name))
    print(format_comparison(compare(read_run(folder / "expert"), read_run(folder / "learned"), margin=0.1)))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "learn_reach"))
