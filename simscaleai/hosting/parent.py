"""Lets a child process end together with its parent."""

from __future__ import annotations

import multiprocessing
import os


def exit_with_parent() -> None:
    """End this process when its parent ends, whatever this process is doing. Call it in a thread of its own."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
