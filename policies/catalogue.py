"""The shipped checkpoints and their measured success rates.

Only files are read and no model is built, so listing is fast.
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
    """Number of actions in a predicted chunk."""
    n_action_steps: int
    """Number of actions of a chunk to execute before the next prediction."""
    measured: Mapping[str, Measurement | None]
    """Published result by environment id; None if these weights were not measured there."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One published result."""

    date: str
    successes: int
    episodes: int
    interval: tuple[float, float]
    """95 % Wilson interval of the success rate."""


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
    """Return the number of weights in a safetensors file, from the shapes in its header."""
    (length,) = struct.unpack_from("<Q", weights)
    header: dict[str, Any] = json.loads(weights[8 : 8 + length])
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def _read_ledger() -> dict[tuple[str, str], Measurement]:
    """Return the published results by checkpoint digest and environment id."""
    checkout = Path(__file__).absolute().parent.parent / "benchmarks" / "results" / _LEDGER
    path = checkout if checkout.is_file() else asset_path(_LEDGER)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {(line["checkpoint_digest"], line["environment"]): _measurement(line) for line in lines}


def _measurement(line: Mapping[str, Any]) -> Measurement:
    summary = line["summary"]
    low, high = summary["wilson_95"]
    return Measurement(
        date=line["date"], successes=summary["successes"], episodes=summary["episodes"], interval=(low, high)
    )
