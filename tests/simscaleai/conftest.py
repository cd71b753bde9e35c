from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from simscaleai.data import DatasetWriter

Contract = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


@pytest.fixture
def make_contract() -> Callable[..., Contract]:
    """Contracts of a made-up environment: a state of 3 numbers, truth of 2, any cameras."""

    def make(*, cameras: tuple[str, ...] = (), size: int = 8, **changes: Any) -> Contract:
        return {
            "environments": {"SimScale/Toy-v0": "scene-digest"},
            "state": [{"name": "position", "size": 3, "unit": "m", "frame": "world"}],
            "environment_state": [{"name": "goal", "size": 2, "unit": "m", "frame": "world"}],
            "cameras": list(cameras),
            "image_size": [size, size] if cameras else None,
            "render_profile": "profile-digest" if cameras else None,
            "language": True,
            "action": "displacement",
            "control_hz": 20,
            "max_episode_steps": 50,
        } | changes

    return make


@pytest.fixture
def make_episode() -> Callable[..., Arrays]:
    """Episodes whose action is a function of the state, so that there is something to learn."""

    def make(contract: Contract, seed: int, length: int = 6) -> Arrays:
        rng = np.random.default_rng(seed)
        state = rng.normal(size=(length, 3)).astype(np.float32)
        action = np.tanh(state[:, [0, 1, 2, 0]])
        arrays = {"observation.state": state, "action": action, "executed_action": action}
        if contract["environment_state"]:
            arrays["observation.environment_state"] = rng.normal(size=(length, 2)).astype(np.float32)
        for camera in contract["cameras"]:
            shape = (length, *contract["image_size"], 3)
            arrays[f"observation.images.{camera}"] = rng.integers(0, 256, shape, dtype=np.uint8)
        return arrays

    return make


@pytest.fixture
def make_metadata() -> Callable[..., dict[str, Any]]:
    def make(index: int, **changes: Any) -> dict[str, Any]:
        base = {"seed": 1_000_000_000 + index, "environment": "SimScale/Toy-v0", "success": True}
        return base | {"instruction": f"go to goal {index}"} | changes

    return make


@pytest.fixture
def make_dataset(
    make_episode: Callable[..., Arrays], make_metadata: Callable[..., dict[str, Any]]
) -> Callable[..., Path]:
    """Datasets of episodes with 5, 6, 7, 5, 6, 7, … steps."""

    def make(folder: Path, contract: Contract, *, episodes: int = 4, first_seed: int = 0, **metadata: Any) -> Path:
        with DatasetWriter(folder, contract) as writer:
            for index in range(episodes):
                arrays = make_episode(contract, first_seed + index, length=5 + index % 3)
                writer.write_episode(arrays, make_metadata(index, **metadata), index)
        return folder

    return make
