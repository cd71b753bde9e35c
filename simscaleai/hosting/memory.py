"""Memory that a process frees and needs again at every step, such as the copies of large observations."""

from __future__ import annotations

import ctypes
import sys

_LARGEST_BLOCK = 32 << 20
"""Largest block that is kept [bytes]; glibc knows no larger limit."""
_MOST_KEPT = 64 << 20
"""Largest size of all free blocks at the end of the heap that are kept [bytes]."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Let this process keep freed memory for later instead of returning it to the system.

    By default, glibc returns blocks of several hundred kilobytes. When they are needed again, the system gives them out
    page by page, and each page costs more time than copying what goes there.
    """
    if sys.platform != "linux":
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # another C library has none
    if set_option is not None:
        set_option(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)
        set_option(_M_TRIM_THRESHOLD, _MOST_KEPT)
