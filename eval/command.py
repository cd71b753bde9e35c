"""What the commands of this package share: flags, messages for users' mistakes, exit codes, output folders.

Exit codes: 0 complete, 1 some episodes are `error`, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from eval.loop import USER_MISTAKES
from eval.plan import EpisodeSpec
from simscaleai.command_line import parse, say_mistake
from simscaleai.errors import SimScaleError

Config = TypeVar("Config")

COMPLETE, EPISODE_ERRORS, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


def run_command(
    config_type: type[Config], run: Callable[[Config], int], program: str, arguments: Sequence[str] | None
) -> int:
    """Parse the command line into a `config_type`, call `run` with it and return the exit code.

    Args:
        config_type: Frozen dataclass; the text under each field is the help of its flag.
        run: Does the work and returns the exit code.
        program: How the user calls the command.
        arguments: Command line without the program; None takes that of the process.
    """
    try:
        return run(parse(config_type, program, arguments))
    except (*USER_MISTAKES, OSError) as mistake:
        say_mistake(mistake)
        return WRONG_USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def check_folder(folder: Path) -> None:
    """Make sure that `folder` can be created for results, or is there and empty; leave everything as it is.

    Raises:
        SimScaleError: If it is a file, or holds something: results of two runs must not mix.
        OSError: If it cannot be created.
    """
    if folder.exists() and not folder.is_dir():
        raise SimScaleError(f"expected a folder to write to, {folder} is a file; choose another --output")
    if folder.is_dir() and any(folder.iterdir()):
        raise SimScaleError(f"{folder} is not empty; choose another --output or remove it first")
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)  # what a file system allows is only known after trying
    for path in missing:
        path.rmdir()


def create_folder(folder: Path) -> None:
    """Create `folder` for results, with its parents; raises as `check_folder`."""
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)


def config_to_json(config: object) -> dict[str, Any]:
    """Return the fields of a command's configuration as plain JSON data."""
    plain: dict[str, Any] = json.loads(json.dumps(vars(config), default=str))
    return plain


def shape_text(num_envs: int, workers: int) -> str:
    """Return how many episodes run at a time, in a few words."""
    at_once = f"{num_envs} at a time"
    return f"{at_once} in each of {workers} workers" if workers > 1 else at_once


def plan_text(plan: Sequence[EpisodeSpec]) -> str:
    """Return how many episodes `plan` has and their seeds, in a few words."""
    seeds = [spec.seed for spec in plan]
    if len(seeds) == 1:
        return f"1 episode, seed {seeds[0]}"
    if seeds == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{len(seeds)} episodes, seeds {seeds[0]} to {seeds[-1]}"
    return f"{len(seeds)} episodes, seeds {' '.join(map(str, seeds[:10]))}{' …' if len(seeds) > 10 else ''}"
