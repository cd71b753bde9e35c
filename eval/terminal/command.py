"""Parts that all commands of `eval` share: exit codes, one line for a user's mistake, the configuration as JSON.

Exit codes:
    0: complete.
    1: some episodes have the status `error`.
    2: wrong usage or set-up.
    70: internal error, a bug in this project; a traceback is printed.
    130: interrupted.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from eval.terminal.console import printable_lines
from simscaleai.command_line import parse, say_mistake
from simscaleai.errors import SimScaleError

Config = TypeVar("Config")

COMPLETE, EPISODE_ERRORS, WRONG_USAGE, INTERNAL_ERROR, INTERRUPTED = 0, 1, 2, 70, 130


def run_command(
    config_type: type[Config],
    run: Callable[[Config], int],
    program: str,
    arguments: Sequence[str] | None,
    *,
    wrong_usage: int = WRONG_USAGE,
) -> int:
    """Parse the command line into a `config_type`, call `run` with it and return the exit code.

    Args:
        config_type: Frozen dataclass; the text under each field is the help of its flag.
        run: Does the work and returns the exit code. It raises `SimScaleError` or `OSError` for a user's mistake.
        program: How the user calls the command.
        arguments: Command line without the program; None takes that of the process.
        wrong_usage: Exit code for a user's mistake.
    """
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_PrintableFormatter())
    try:
        return _run_to_end(run, parse(config_type, program, arguments))
    except OSError as mistake:
        say_mistake(mistake)
        return wrong_usage
    except SimScaleError as mistake:
        say_mistake(SimScaleError(_with_relative_paths(str(mistake))))
        return wrong_usage
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception:
        print(printable_lines(traceback.format_exc()), file=sys.stderr)
        return INTERNAL_ERROR


def _run_to_end(run: Callable[[Config], int], config: Config) -> int:
    try:
        return run(config)
    except SystemExit as ended:
        raise SimScaleError(
            f"a policy, an environment or a library called sys.exit({ended.code!r}), so the command did not finish; "
            "remove that call"
        ) from ended


def _with_relative_paths(text: str) -> str:
    """Return `text` with paths below the working directory as the user typed them.

    Commands make paths absolute, because a policy may change the working directory while a command runs.
    """
    with suppress(OSError):  # the working directory was removed
        return text.replace(f"{os.getcwd()}{os.sep}", "")
    return text


class _PrintableFormatter(logging.Formatter):
    """Formats log records for a terminal. Their texts may come from policies and environments of others."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


def config_to_json(config: object) -> dict[str, Any]:
    """Return the fields of the configuration of a command as plain JSON data."""
    data: dict[str, Any] = json.loads(json.dumps(vars(config), default=str))
    return data


def shape_text(num_envs: int, workers: int) -> str:
    """Return how many episodes run at the same time, in a few words."""
    at_once = f"{num_envs} at a time"
    return f"{at_once} in each of {workers} workers" if workers > 1 else at_once
