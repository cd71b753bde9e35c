"""One contract for several datasets that a single policy can learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simscaleai.data.episode_file import DatasetError

MUST_AGREE = (
    "state", "cameras", "image_size", "render_profile", "action", "control_hz", "max_episode_steps",
)  # fmt: skip
"""Fields of the contract that every joined dataset must share."""


def join_contracts(contracts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the contract of a policy that serves every environment of `contracts`.

    `environment_state` stays only where all layouts are equal, `language` only where all have it.

    Args:
        contracts: Name of each dataset (for messages) to its contract, at least one.

    Raises:
        DatasetError: If two contracts differ in what must agree.
    """
    (first_name, first), *others = contracts.items()
    joined = dict(first)
    joined["environments"] = dict(first["environments"])
    for name, contract in others:
        for field in MUST_AGREE:
            if contract.get(field) != first.get(field):
                raise DatasetError(
                    f"{first_name} and {name} cannot be joined: {field} is {_short(first.get(field))} "
                    f"and {_short(contract.get(field))}"
                )
        _add_environments(joined["environments"], contract["environments"], name)
        if contract.get("environment_state") != first.get("environment_state"):
            joined["environment_state"] = None
        joined["language"] = bool(joined.get("language")) and bool(contract.get("language"))
    return joined


def shared_columns(layouts: Sequence[Sequence[Mapping[str, Any]]], unit: str) -> list[list[int]]:
    """Return, for each of `layouts`, the columns of the features in `unit` that all layouts name and define alike.

    The features come in the order of the first layout, so the same place means the same in every result.
    """
    first, *others = layouts
    shared = [feature for feature in first if feature["unit"] == unit and all(feature in other for other in others)]
    return [[column for feature in shared for column in _columns(layout, feature)] for layout in layouts]


def _columns(layout: Sequence[Mapping[str, Any]], feature: Mapping[str, Any]) -> range:
    start = sum(entry["size"] for entry in layout[: layout.index(feature)])
    return range(start, start + feature["size"])


def _add_environments(environments: dict[str, str], more: Mapping[str, str], name: str) -> None:
    for env_id, digest in more.items():
        if environments.setdefault(env_id, digest) != digest:
            raise DatasetError(f"{name} was made in another scene of {env_id} ({digest}, not {environments[env_id]})")


def _short(value: object) -> str:
    """Return `value` readably: a layout as its names and sizes."""
    if isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
        return " + ".join(f"{entry['name']}({entry['size']})" for entry in value)
    return repr(value)
