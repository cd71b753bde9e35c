"""Joins the needs of several datasets from which one policy learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from simscaleai.contract import Layout, Needs
from simscaleai.data.episode_file import DatasetError


def join_needs(needs_of: Mapping[str, Needs]) -> Needs:
    """Return the needs of a policy that serves every environment of all datasets.

    A privileged vector stays only if all datasets have it with the same layout. The instruction stays only if all
    datasets have instructions.

    Args:
        needs_of: Name of each dataset (for messages) to its needs, at least one.

    Raises:
        DatasetError: If two datasets differ in a vector that is not privileged, in their cameras, actions, control rate
            or time limit, or in the digest of a common environment.
    """
    (first_name, first), *others = needs_of.items()
    environments = dict(first.environments or {})
    for name, needs in others:
        _check_agreement(first_name, first, name, needs)
        _add_environments(environments, needs.environments or {}, name)
    everyone = needs_of.values()
    vectors = {
        key: layout
        for key, layout in first.vectors.items()
        if all(needs.vectors.get(key) == layout for needs in everyone)
    }
    instruction = all(needs.instruction for needs in everyone)
    return replace(first, vectors=vectors, environments=environments, instruction=instruction)


def shared_columns(layouts: Sequence[Layout], unit: str) -> list[list[int]]:
    """Return one list of columns per layout: the features with this `unit` that all `layouts` define in the same way.

    All lists follow the order of the first layout, so entry i of each list has the same meaning.
    """
    first, *others = layouts
    shared = [
        feature
        for feature in first.features
        if feature.unit == unit and all(feature in layout.features for layout in others)
    ]
    return [
        [column for feature in shared for column in range(layout.size)[layout.slice(feature.name)]]
        for layout in layouts
    ]


def _check_agreement(first_name: str, first: Needs, other_name: str, other: Needs) -> None:
    facts, other_facts = _facts(first), _facts(other)
    for name in [*facts, *(name for name in other_facts if name not in facts)]:
        mine, its = facts.get(name), other_facts.get(name)
        if mine != its:
            raise DatasetError(
                f"{first_name} and {other_name} cannot be joined: {name} is {_text(mine)} and {_text(its)}"
            )


def _facts(needs: Needs) -> dict[str, object]:
    """Return what must be equal in all datasets."""
    vectors = {f"vector {key!r}": layout for key, layout in needs.vectors.items() if not layout.privileged}
    return vectors | {
        "cameras": dict(needs.cameras),
        "render_profile": needs.render_profile,
        "action": needs.action,
        "control_hz": needs.control_hz,
        "max_episode_steps": needs.max_episode_steps,
    }


def _text(value: object) -> str:
    return str(value) if isinstance(value, Layout) else repr(value)


def _add_environments(environments: dict[str, str], more: Mapping[str, str], name: str) -> None:
    for env_id, digest in more.items():
        if environments.setdefault(env_id, digest) != digest:
            raise DatasetError(f"{name} was made in another scene of {env_id} ({digest}, not {environments[env_id]})")
