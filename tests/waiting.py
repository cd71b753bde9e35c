"""Waiting for what another thread or process does: by a condition, with a limit that no load reaches."""

import threading
import time
from pathlib import Path

from simscaleai.hosting.process import kill_busy_hosts

SECONDS = 120.0
"""Time after which something is taken to be hanging [s]."""


def wait_until(condition, text=lambda: ""):
    """Wait until `condition()` is true; a failure shows `text()`."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, text()
        time.sleep(0.01)


def kill_the_next_busy_host():
    """Kill, from another thread, the first host or connection that has a call to answer from now on."""
    threading.Thread(target=wait_until, args=(kill_busy_hosts,), daemon=True).start()


def is_running(pid):
    """Return whether a process exists and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
