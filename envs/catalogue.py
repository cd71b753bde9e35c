"""What the environments are, in words, without importing a simulator for the tabletop tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from envs.registration import Registration, registrations
from envs.tabletop.registration import describe_task, is_task
from simscaleai.contract import EnvSpec, Layout
from simscaleai.errors import SimScaleError


@dataclass(frozen=True)
class Entry:
    """One environment."""

    name: str
    """Short name, as in `--env reach`."""
    env_id: str
    """Full id with its version."""
    summary: str
    """What is to be done, in one sentence."""
    sections: Mapping[str, str]
    """Headings ("Observation", "Success", "Episode end", …) to text, each on one line."""


def catalogue() -> list[Entry]:
    """Return all environments that can be used, in the order of their registration.

    A tabletop task is described by its docstring, any other environment by its registration and its specification.

    Raises:
        SimScaleError: If the class of a registered tabletop task does not exist.
    """
    return [_entry(registration) for registration in registrations()]


def _entry(registration: Registration) -> Entry:
    if is_task(registration.env_id):
        description = describe_task(registration.env_id)
        return Entry(registration.name, registration.env_id, description.summary, description.sections)
    try:
        sections = _sections(registration.offer())
    except SimScaleError as error:
        sections = {"Problem": " ".join(str(error).split())}
    return Entry(registration.name, registration.env_id, registration.summary, sections)


def _sections(spec: EnvSpec) -> dict[str, str]:
    images = [f"image {key} ({f'{size[0]} x {size[1]}' if size else 'any size'})" for key, size in spec.cameras.items()]
    observed = [f"{key} ({layout.size}): {_features(layout)}" for key, layout in spec.vectors.items()]
    numbers = ", ".join(
        f"{name} ({low:g} to {high:g})"
        for name, low, high in zip(spec.action.names, spec.action.low, spec.action.high, strict=True)
    )
    return {
        "Observation": "; ".join([*observed, *images]),
        "Control": f"{numbers}: {spec.action.meaning}; {spec.control_hz:g} control steps per second.",
        "Success": spec.success,
        "Episode end": f"At success, or after {spec.max_episode_steps} control steps.",
    }


def _features(layout: Layout) -> str:
    return ", ".join(f"{feature.name} {feature.size} [{feature.unit}]" for feature in layout.features)
