"""Learning: models, processing, data, checkpoints, training. Knows arrays, not simulators."""

import signal
import sys
from contextlib import suppress
from pathlib import Path

_PACKAGES = ("envs", "eval", "policies", "simscaleai")


def _is_command() -> bool:
    """Return whether this process was started as a command of this project."""
    # With `python -m module words`, sys.orig_argv ends with "-m", the module and the words; sys.argv has as many words.
    place = len(sys.orig_argv) - len(sys.argv)
    if 0 < place < len(sys.orig_argv) and sys.orig_argv[place - 1] == "-m":
        return sys.orig_argv[place].partition(".")[0] in _PACKAGES
    return Path(*sys.argv[:1]).stem == "simscale"


if _is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While libraries load there is nothing to clean up, so Ctrl-C ends the process at once, without a traceback. A
    # command that writes files calls `command_line.raise_at_interrupt` first.
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGINT, signal.SIG_DFL)
