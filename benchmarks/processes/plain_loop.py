"""A plain loop in an interpreter of its own, and what the same calls cost through a host."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import sub
from statistics import median

from simscaleai.hosting.process import ONE_THREAD_EACH

ROUNDS = 15
Timed = Callable[[int], float]
"""Makes this number of calls and returns the time of one [s]."""

_LOOP = """
import sys, time
for line in sys.stdin:
    begin = time.perf_counter()
    for _ in range(int(line)):
        call()
    print((time.perf_counter() - begin) / int(line), flush=True)
"""


@contextmanager
def plain_loop(script: str, *arguments: object) -> Iterator[Timed]:
    """Yield what times the function `call` that `script` defines, in an interpreter with one thread, as a host has it.

    Args:
        script: Source in Python.
        *arguments: What it finds in `sys.argv`, after its name.
    """
    command, environment = [sys.executable, "-c", script + _LOOP, *map(str, arguments)], os.environ | ONE_THREAD_EACH
    with subprocess.Popen(command, env=environment, stdin=-1, stdout=-1, text=True, bufsize=1) as process:

        def timed(calls: int) -> float:
            print(calls, file=process.stdin)
            return float(process.stdout.readline()) if process.stdout else 0.0

        yield timed


def cost_row(figure: str, hosted: Timed, plain: Timed, calls: tuple[int, int], at_most: float) -> dict[str, object]:
    """Return a row of a table: how much longer a call takes in a host [us].

    Rounds of both take turns, a first one to warm up. `median` is the median of the differences of the rounds.
    `fastest` is the difference of the fastest rounds, which other programs disturb least.

    Args:
        figure: Name of the row.
        hosted: Times a call through a host.
        plain: Times the same call in a plain loop.
        calls: Numbers of calls in a round, hosted and plain.
        at_most: Largest cost that is wanted [us].
    """
    times = [(hosted(calls[0]), plain(calls[1])) for _ in range(ROUNDS + 1)][1:]
    in_host, in_loop = zip(*times, strict=True)
    costs = {"median": median(map(sub, in_host, in_loop)), "fastest": min(in_host) - min(in_loop)}
    return {"figure": figure, **{name: f"{cost * 1e6:.0f}" for name, cost in costs.items()}, "at_most": at_most}
