"""Descriptions of all environments in words. Tabletop tasks are described without importing a simulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from envs.registration import Registration, registrations
from envs.tabletop.registration import describe_task, is_task
from simscaleai.contract import EnvSpec, Layout
from simscaleai.errors import SimScaleError


@dataclass(frozen=True)
class Entry:
    """Description of one environment."""

    name: str
    """Short name, as in `--env reach`."""
    env_id: str
    """Full id with its version."""
    summary: str
    """The task in one sentence."""
    sections: Mapping[str, str]
    """Text of each section, on one line, by heading ("Observation", "Success", "Episode end", …)."""


def catalogue() -> list[Entry]:
    """Return the descriptions of all usable environments, in the order of their registration.

    The description of a tabletop task comes from its docstring. The description of any other environment comes from its
    registration and its specification.

    Raises:
        SimScaleError: If a tabletop task is registered with a class that does not exist.
    """
    return [_entry(registration) for registration in registrations()]


def _entry(registration: Registration) -> Entry:
    if is_task(registration.env_id):
        description = describe_task(registration.env_id)
        return Entry(registration.name, registration.env_id, description.summary, description.sections)
    try:
        sections = describe_spec(registration.offer())
    except SimScaleError as error:
        sections = {"Problem": " ".join(str(error).split())}
    return Entry(registration.name, registration.env_id, registration.summary, sections)


def describe_spec(spec: EnvSpec) -> dict[str, str]:
    """Return what an environment offers in words, by heading."""
    images = [f"image {key} ({f'{size[0]} x {size[1]}' if size else 'any size'})" for key, size in spec.cameras.items()]
    observed = [f"{key} ({layout.size}): {_features(layout)}" for key, layout in spec.vectors.items()]
    return {
        "Observation": "; ".join([*observed, *images]),
        "Control": f"{spec.action.in_words}; {spec.control_hz:g} control steps per second.",
        "Success": spec.success,
        "Episode end": f"At success, or after {spec.max_episode_steps} control steps.",
    }


def _features(layout: Layout) -> str:
    return ", ".join(
        f"{feature.name} {feature.size}" + (f" [{feature.unit}]" if feature.unit else "") for feature in layout.features
    )
