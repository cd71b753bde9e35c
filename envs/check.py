"""Checks one environment: which promises of `SlotEnv` it keeps, and what it offers.

python -m envs check gym:Reacher-v5 --success 'return>=-5'
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from envs.catalogue import describe_spec
from envs.choices import EnvironmentFlags
from envs.registration import Registration, find_environment
from envs.slots import SlotEnv, Start, check_slots, repeats_itself
from simscaleai.errors import ConformanceError, SimScaleError, exception_text

_IMAGE_SIZE = (64, 64)
"""Height and width of the images of a camera whose size the reader chooses [px]."""


@dataclass(frozen=True, kw_only=True)
class CheckConfig(EnvironmentFlags):
    """Check that an environment keeps the promises that an evaluation relies on; exit code 1 if it breaks one.

    Instead of --env, the name may be the first word: `python -m envs check reach`.
    """


@dataclass(frozen=True)
class Checked:
    """What was found out about one environment."""

    rows: tuple[tuple[str, str], ...]
    """What it offers, and each promise, in words."""
    problem: str
    """The first broken promise, or what was raised; "" if all promises are kept."""


def check_environment(name: str) -> Checked:
    """Run a few episodes with random actions in the environment `name`, and return what was found.

    Raises:
        SimScaleError: If there is no such environment, or it cannot be evaluated.
    """
    registration = find_environment(name)
    rows = list(describe_spec(registration.offer()).items())
    env = _make(registration)
    try:
        rows.append(("Repeats", "exactly" if _repeats(env) else "no: the same start and actions give another episode"))
        obstacle = _obstacle_to_films(env)
        rows += [("Films", f"none; render() raised {obstacle}")] if obstacle else []
        rows += [("Kept", promise) for promise in check_slots(env, films=not obstacle)]
        return Checked(tuple(rows), "")
    except ConformanceError as error:
        return Checked(tuple(rows), str(error))
    except SimScaleError:
        raise
    except (Exception, SystemExit) as error:  # code of others
        return Checked(tuple(rows), f"the environment raised {exception_text(error)}")
    finally:
        env.close()


def _make(registration: Registration) -> SlotEnv:
    spec = registration.offer()
    cameras = {camera: size or _IMAGE_SIZE for camera, size in spec.cameras.items()}
    return registration.make(2, spec.needs(*spec.vectors, cameras=cameras), True, None)


def _repeats(env: SlotEnv) -> bool:
    return repeats_itself(env, (Start(0), Start(1)))


def _obstacle_to_films(env: SlotEnv) -> str:
    """Return what a picture for a film raises, for example for want of a package; "" if films can be made."""
    try:
        for camera in env.spec.film_cameras:
            env.frame(0, camera, _IMAGE_SIZE)
    except (Exception, SystemExit) as error:  # code of others; an evaluation does not need films
        return exception_text(error)
    return ""


def report_lines(name: str, checked: Checked) -> Iterator[str]:
    """Yield the lines of a report."""
    yield name
    for heading, text in checked.rows:
        yield f"  {heading.lower():<13}{text}"
    yield f"  {'broken':<13}{checked.problem}" if checked.problem else "all promises are kept"
