from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simscaleai.contract import Needs
from simscaleai.data import DatasetWriter


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Returns the bytes of each file of a folder, by its relative path."""

    def read(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    return read


@pytest.fixture
def write_source(tmp_path: Path, make_episode: Any, make_metadata: Any) -> Callable[[Needs], Path]:
    """Writes a dataset with episodes 0, 2, 3 of 5, 7, 5 steps; 2 failed and 1 was discarded."""

    def write(needs: Needs) -> Path:
        with DatasetWriter(tmp_path / "source", needs, provenance={"policy": "me"}) as writer:
            for index, length in {0: 5, 2: 7, 3: 5}.items():
                arrays = make_episode(needs, seed=index, length=length)
                writer.write_episode(arrays, make_metadata(index, success=index != 2), index)
            writer.discard_episode(make_metadata(1, success=False), 1)
        return tmp_path / "source"

    return write


def contract_of(needs: Needs) -> dict[str, Any]:
    """Return `needs` as the contract that version 1 wrote."""
    layouts = {key: [vars(feature) for feature in layout.features] for key, layout in needs.vectors.items()}
    sizes = list(needs.cameras.values())
    return {
        "environments": needs.environments,
        "state": layouts["state"],
        "environment_state": layouts.get("environment_state"),
        "cameras": list(needs.cameras),
        "image_size": list(sizes[0]) if sizes else None,
        "render_profile": needs.render_profile,
        "language": needs.instruction,
        "action": needs.action,
        "control_hz": needs.control_hz,
        "max_episode_steps": needs.max_episode_steps,
    }


def features_of(contract: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
    """Return the types of the arrays as version 1 wrote them."""
    return {
        key: entry | {"layout": contract.get(key.removeprefix("observation.")) if "state" in key else None}
        for key, entry in arrays.items()
    }


@pytest.fixture
def rewrite_as_version_1() -> Callable[[Path, Needs], None]:
    """Rewrites `dataset.json` as version 1 wrote it."""

    def rewrite(folder: Path, needs: Needs) -> None:
        path = folder / "dataset.json"
        now = json.loads(path.read_text())
        contract = contract_of(needs)
        old = {
            "format": "simscaleai-dataset",
            "format_version": 1,
            "fps": 20,
            "contract": contract,
            "provenance": now["provenance"],
            "features": features_of(contract, now["array_types"]),
            "statistics": now["statistics"],
        }
        path.write_text(json.dumps(old, indent=1) + "\n")

    return rewrite


@pytest.fixture
def rewrite_export_as_version_1() -> Callable[[Path, Needs], None]:
    """Rewrites our own file in a LeRobotDataset as version 1 wrote it."""

    def rewrite(folder: Path, needs: Needs) -> None:
        path = folder / "meta/simscaleai.json"
        now = json.loads(path.read_text())
        contract = contract_of(needs)
        old = {
            "format": "simscaleai-lerobot",
            "format_version": 1,
            "contract": contract,
            "provenance": now["provenance"],
            "features": features_of(contract, now["array_types"]),
            "episodes": now["episodes"],
            "discarded": now["discarded"],
        }
        path.write_text(json.dumps(old, indent=4) + "\n")

    return rewrite
