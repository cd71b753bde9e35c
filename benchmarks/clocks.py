"""Clocks on methods: how much time a piece of work spends inside them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any


@dataclass
class Clock:
    """The time that passed inside the methods that it is on."""

    seconds: float = 0.0


@contextmanager
def clock_on(owner: type, method: str, clock: Clock | None = None) -> Iterator[Clock]:
    """Time every call of `owner.method` in this process, into `clock` if given."""
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
