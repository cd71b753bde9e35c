"""The shipped checkpoints and their measured success rates.

Reads files only: no model is built, so the list comes at once.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policies.registry import shipped_checkpoints
from simscaleai.assets import asset_path
from simscaleai.checkpoint import CONFIG_FILE, WEIGHTS_FILE, checkpoint_digest, read_checkpoint_config
from simscaleai.contract import Needs

_LEDGER = "published.jsonl"


@dataclass(frozen=True, kw_only=True)
class CheckpointEntry:
    """One shipped checkpoint."""

    name: str
    model: str
    parameters: int
    """Number of weights."""
    needs: Needs
    action_horizon: int
    """Actions of a predicted chunk."""
    n_action_steps: int
    """How many of these are executed before the model is asked again."""
    measured: Mapping[str, Measurement | None]
    """Environment to the result measured there; None where these weights were not measured."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A line of the ledger of published results."""

    date: str
    successes: int
    episodes: int
    interval: tuple[float, float]
    """Wilson, 95 %."""


def checkpoint_entries() -> list[CheckpointEntry]:
    """Return the shipped checkpoints, sorted by name."""
    ledger = _read_ledger()
    return [_entry(folder, ledger) for folder in shipped_checkpoints()]


def _entry(folder: Path, ledger: Mapping[tuple[str, str], Measurement]) -> CheckpointEntry:
    config = read_checkpoint_config(folder)
    weights = (folder / WEIGHTS_FILE).read_bytes()
    digest = checkpoint_digest((folder / CONFIG_FILE).read_bytes(), weights)
    return CheckpointEntry(
        name=folder.name,
        model=config.model.name,
        parameters=_count_numbers(weights),
        needs=config.needs,
        action_horizon=config.model.arguments.get("action_horizon", 1),
        n_action_steps=config.n_action_steps,
        measured={env_id: ledger.get((digest, env_id)) for env_id in config.needs.environments or ()},
    )


def _count_numbers(weights: bytes) -> int:
    """Return how many numbers a safetensors file holds: its header lists the shapes."""
    (length,) = struct.unpack_from("<Q", weights)
    header: dict[str, Any] = json.loads(weights[8 : 8 + length])
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def _read_ledger() -> dict[tuple[str, str], Measurement]:
    """Return the published results, by the digest of the checkpoint and the environment."""
    checkout = Path(__file__).resolve().parent.parent / "benchmarks" / "results" / _LEDGER
    path = checkout if checkout.is_file() else asset_path(_LEDGER)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {(line["checkpoint_digest"], line["environment"]): _measurement(line) for line in lines}


def _measurement(line: Mapping[str, Any]) -> Measurement:
    summary = line["summary"]
    low, high = summary["wilson_95"]
    return Measurement(
        date=line["date"], successes=summary["successes"], episodes=summary["episodes"], interval=(low, high)
    )
