"""The schema version of run folders, and the conversion of older records to the current version.

A record of version 1 holds one policy, the needs of that policy (as `contract`) instead of a specification of the
environment, and the receipts, which `eval.runs.receipts` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simscaleai.contract import Needs
from simscaleai.errors import SimScaleError
from simscaleai.json_data import DAMAGE

RECORD_FILE = "run.json"
"""Name of the record in the folder of a run."""

SCHEMA_VERSION = 2
"""Version of the run folder. It increases when a key changes its meaning; older versions stay readable."""

UNKNOWN = "unknown"
"""Value in a converted record for what version 1 did not record."""

_ACTION_NAMES = ("delta_x", "delta_y", "delta_z", "gripper")  # of every environment that version 1 had
_FINDINGS = ("verdict", "pairs", "difference", "difference_sequence_95", "inverse_e_value")


def converted_record(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record `data` of version 1 as data of version 2. Its `schema_version` stays 1.

    Entries that version 1 did not have are kept, so that `RunRecord.read` rejects them.

    Raises:
        SimScaleError: If entries are missing or have the wrong type.
    """
    try:
        return _converted(dict(data))
    except KeyError as error:
        raise SimScaleError(f"expected the entry {error}, got none") from error
    except DAMAGE as error:
        raise SimScaleError(f"an entry has the wrong type ({error})") from error


def _converted(values: dict[str, Any]) -> dict[str, Any]:
    contract, digest = values.pop("contract"), values.pop("checkpoint_digest")
    values.pop("receipts", None)
    config, needs = values["config"], Needs.from_json(contract)
    policy = {
        "model": config["model"],
        "checkpoint": config.get("checkpoint"),
        "identity": digest or "",
        "needs": needs.to_json(),
    }
    return values | {
        "environment": _environment(values["resolved"]["environment"], needs),
        "policies": [policy],
        "sequential": _sequential(values.get("sequential")),
    }


def _environment(env_id: str, needs: Needs) -> dict[str, Any]:
    """Return a specification of the environment with what the needs of the policy contain."""
    stored, size = needs.to_json(), len(_ACTION_NAMES)
    return {
        "env_id": env_id,
        "digest": (needs.environments or {}).get(env_id, UNKNOWN),
        "vectors": stored["vectors"],
        "cameras": stored["cameras"],
        "render_profile": needs.render_profile,
        "action": {
            "names": _ACTION_NAMES,
            "low": [-1.0] * size,
            "high": [1.0] * size,
            "meaning": needs.action or UNKNOWN,
        },
        "control_hz": needs.control_hz,
        "max_episode_steps": needs.max_episode_steps or 0,
        "success": UNKNOWN,
        "has_instructions": needs.instruction,
    }


def _sequential(data: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the entry `sequential` with its findings as a separate object."""
    if data is None:
        return None
    findings = {name: data[name] for name in _FINDINGS if name in data}
    return {name: value for name, value in data.items() if name not in _FINDINGS} | {"findings": findings or None}
