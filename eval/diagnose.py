"""Finds out what is wrong between a policy and its observations, without running an episode.

    python -m eval.diagnose --model my_adapter.py:Policy --dataset data/pick_place

The policy gets recorded observations, and its actions are compared with the recorded ones: as they are, and under many
corrections such as images turned upside down or the other sign of the gripper. A correction that lowers the error
clearly names the fault.

Exit codes: 0 nothing found, 1 something found, 2 wrong usage, 70 internal error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

from eval.diagnosis.diagnosis import EPISODES, LEAST_EPISODES, STEPS, Diagnosis, diagnose
from eval.diagnosis.environment import spec_of
from eval.diagnosis.text import diagnosis_rows, diagnosis_to_json
from eval.execution.assembly import close_policy
from eval.terminal.command import COMPLETE, run_command
from eval.terminal.console import Console
from policies.options import PolicyFlags, parse_options
from policies.registry import make_policy
from simscaleai.command_line import raise_at_interrupt
from simscaleai.data import Dataset
from simscaleai.errors import SimScaleError

PROGRAM = "python -m eval.diagnose"

FOUND = 1
"""Exit code if something is wrong with the policy."""


@dataclass(frozen=True, kw_only=True)
class DiagnoseConfig(PolicyFlags):
    """Find out what is wrong between a policy and its observations, by comparing its actions with recorded ones.

    Exit codes: 0 nothing found, 1 something found, 2 wrong usage.
    """

    model: str
    """Policy to examine; any --model of eval.rollout."""
    dataset: Path
    """Folder of demonstrations that the policy should imitate: those that it was trained on, or some like them."""
    checkpoint: Path | None = None
    """Folder with the weights, as in eval.rollout."""
    env: str | None = None
    """Environment of the dataset; by default the first one that the dataset names."""
    episodes: int = EPISODES
    """Number of recorded episodes to use, spread over the dataset."""
    steps: int = STEPS
    """Steps of each episode at which the policy is asked. A policy that remembers is asked along the whole episode."""
    quiet: bool = False
    """Print only errors; the exit code says whether something was found."""
    json: bool = False
    """Print the result as one JSON object instead of text."""

    def check(self) -> None:
        """Check the numbers.

        Raises:
            SimScaleError: If one is out of range.
        """
        for name, least in (("episodes", LEAST_EPISODES), ("steps", 2)):
            if getattr(self, name) < least:
                raise SimScaleError(f"expected --{name} of at least {least}, got {getattr(self, name)}")


def run(config: DiagnoseConfig) -> Diagnosis:
    """Diagnose `config.model`, print the result and return it.

    Raises:
        SimScaleError: If the configuration is wrong, or the policy does not fit the dataset.
    """
    config.check()
    raise_at_interrupt()
    with Console(config.quiet, config.json) as console, chdir("."):  # a policy may change the working directory
        dataset = Dataset(config.dataset)
        spec = spec_of(dataset, config.env)
        options = parse_options(config.policy_option)
        policy = make_policy(config.model, spec=spec, checkpoint=config.checkpoint, options=options)
        try:
            progress = not (config.quiet or config.json)
            diagnosis = diagnose(policy, dataset, spec, episodes=config.episodes, steps=config.steps, progress=progress)
        finally:
            close_policy(policy)
        console.conclude(diagnosis_rows(diagnosis), lambda: _as_json(config, diagnosis))
    return diagnosis


def _as_json(config: DiagnoseConfig, diagnosis: Diagnosis) -> dict[str, object]:
    return {"model": config.model, "dataset": str(config.dataset), **diagnosis_to_json(diagnosis)}


def _run_and_judge(config: DiagnoseConfig) -> int:
    return FOUND if run(config).findings else COMPLETE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code."""
    return run_command(DiagnoseConfig, _run_and_judge, PROGRAM, arguments)


if __name__ == "__main__":
    sys.exit(main())
