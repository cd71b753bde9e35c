"""The console script: `simscale rollout …` is `python -m eval.rollout …`, from any folder.

The working directory is the last folder of the import path: modules of the user there are found, and an unrelated
folder `envs` there cannot hide the package of this project.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from eval.terminal.command import COMPLETE, WRONG_USAGE
from simscaleai.command_line import make_streams_safe, say_mistake
from simscaleai.errors import UnknownNameError

COMMANDS = {
    "rollout": ("eval.rollout", "evaluate a policy"),
    "robustness": ("eval.robustness", "test a policy under perturbations"),
    "collect": ("eval.collect", "collect demonstrations"),
    "record": ("eval.record", "film a policy"),
    "merge": ("eval.merge", "join the shards of a run, battery or collection"),
    "compare": ("eval.compare", "compare two runs"),
    "diagnose": ("eval.diagnose", "find out what is wrong between a policy and its observations"),
    "validate": ("eval.validate", "choose the best of several checkpoints"),
    "report": ("eval.report.__main__", "write a report of runs as one HTML page"),
    "view": ("eval.view.__main__", "show all runs of a folder, live while they go on"),
    "data": ("simscaleai.data.__main__", "inspect datasets, exchange them with LeRobot"),
    "train": ("simscaleai.train", "train a model on demonstrations"),
    "envs": ("envs.__main__", "list the environments, or draw them"),
    "serve": ("policies.serve", "serve a policy to openpi clients"),
    "policies": ("policies.__main__", "list models, checkpoints with measured success rates, experts"),
}
"""Name of each command, with the module whose `main` it runs and a description."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the first of `arguments` names and return its exit code."""
    make_streams_safe()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        print(_usage())
        return COMPLETE if words else WRONG_USAGE
    command, *rest = words
    if command not in COMMANDS:
        say_mistake(UnknownNameError("command", command, COMMANDS))
        return WRONG_USAGE
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    module, _ = COMMANDS[command]
    code: int = import_module(module).main(rest)
    return code


def _usage() -> str:
    lines = [f"  {name:<10} {purpose}" for name, (_, purpose) in COMMANDS.items()]
    return "usage: simscale COMMAND [OPTIONS]\n\n" + "\n".join(lines) + "\n\nsimscale COMMAND --help shows the options."


if __name__ == "__main__":
    sys.exit(main())
