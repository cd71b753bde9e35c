"""Installs a suite of others in an interpreter of its own, checks it, and measures its speed.

python -m envs install metaworld
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs.check import Checked, check_environment
from envs.foreign.suites import find_suite, suite_names
from envs.registration import find_environment
from envs.slots import SlotEnv, Start
from simscaleai.errors import SimScaleError
from simscaleai.hosting.interpreters import find_python, install, is_installed, read_report, uninstall, write_report

_SECONDS_PER_FIGURE = 2.0
_IMAGE_SIZE = (128, 128)
_MOST_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class InstallConfig:
    """Install a suite of others, with the packages of its lock file, in an interpreter of its own, and check it.

    Instead of --name, the name may be the first word: `python -m envs install metaworld`. The packages go to the user's
    data folder, or to SIMSCALE_HOME. An earlier installation is replaced.
    """

    name: str
    """Name of the suite; `python -m envs` lists them."""
    python: Path | None = None
    """Interpreter to use; by default one of a version that the suite runs with."""


def install_suite(name: str, python: Path | None, say: Callable[[str], None]) -> Checked:
    """Install, check and measure the suite `name`.

    Args:
        name: Name of the suite.
        python: Interpreter to use; None for one of a version that the suite runs with.
        say: Gets a line of text before each part of the work.

    Raises:
        UnknownNameError: If there is no such suite.
        SimScaleError: If there is no such interpreter, the packages cannot be installed, or the suite does not start.
            Nothing is left behind then.
    """
    suite = find_suite(name)
    install(name, suite.lock, python or find_python(suite.pythons), say)
    say(f"checking {suite.checked}")
    try:
        found = _checked(suite.checked)
    except SimScaleError:
        uninstall(name)
        raise
    write_report(name, {"checked": suite.checked, "rows": found.rows, "problem": found.problem})
    return found


def suites() -> Iterator[tuple[str, str, str, str]]:
    """Yield name, whether it is installed and with which speed, summary, and environments of each suite, in words."""
    for name in suite_names():
        suite = find_suite(name)
        where = _speed_text(read_report(name)) if is_installed(name, suite.lock) else f"python -m envs install {name}"
        shown = suite.environments
        if len(shown) > _MOST_SHOWN:
            shown = [*shown[:3], "…", shown[-1]]
        yield name, where, suite.summary, ", ".join(shown)


def _speed_text(report: dict[str, Any]) -> str:
    rows = dict(report.get("rows") or ())
    repeats, speed = rows.get("Repeats"), rows.get("Speed")
    return "installed" + (f"; {report.get('checked')} repeats {repeats}; {speed}" if speed else "")


def _checked(name: str) -> Checked:
    checked = check_environment(name)
    registration = find_environment(name)
    spec = registration.offer()
    cameras = {camera: size or _IMAGE_SIZE for camera, size in list(spec.cameras.items())[:1]}
    env = registration.make(1, spec.needs(*spec.vectors, cameras=cameras), True, None)
    try:
        speed = f"{_steps_per_second(env, with_images=False):.0f} control steps/s"
        if cameras:
            size = "x".join(map(str, next(iter(cameras.values()))))
            speed += f", {_steps_per_second(env, with_images=True):.1f} with an image of {size}"
    finally:
        env.close()
    return Checked((*checked.rows, ("Speed", speed)), checked.problem)


def _steps_per_second(env: SlotEnv, *, with_images: bool) -> float:
    """Return control steps per second in one slot, with random actions, resets left out."""
    slot, rng = np.array([0]), np.random.default_rng(0)
    low, high = np.maximum(env.spec.action.low, -1e3), np.minimum(env.spec.action.high, 1e3)
    seed, steps, spent = 0, 0, 0.0
    while spent < _SECONDS_PER_FIGURE:
        env.reset(slot, [Start(seed)])
        seed, ended, begin = seed + 1, False, time.perf_counter()
        while not ended and spent + time.perf_counter() - begin < _SECONDS_PER_FIGURE:
            done = env.step(slot, rng.uniform(low, high)[None].astype(np.float32))
            env.observe(slot, np.array([with_images]))
            steps, ended = steps + 1, bool((done.terminated | done.truncated).any())
        spent += time.perf_counter() - begin
    return steps / spent
