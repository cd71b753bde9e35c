"""Clocks that measure the time inside chosen methods."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any


@dataclass
class Clock:
    """Total time inside the timed methods."""

    seconds: float = 0.0


@contextmanager
def clock_on(owner: type, method: str, clock: Clock | None = None) -> Iterator[Clock]:
    """Add the time of every call of `owner.method` within the block to `clock`, by default a new clock; yield it."""
    clock = clock or Clock()
    original = getattr(owner, method)

    @wraps(original)
    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            clock.seconds += time.perf_counter() - start

    setattr(owner, method, timed)
    try:
        yield clock
    finally:
        setattr(owner, method, original)
