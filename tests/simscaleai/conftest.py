from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from simscaleai.contract import Feature, Layout, Needs
from simscaleai.data import DatasetWriter
from simscaleai.data.keys import image_key, vector_key

Arrays = dict[str, NDArray[Any]]

POSITION = Layout((Feature("position", 3, "m", "world"),))
GOAL = Layout((Feature("goal", 2, "m", "world"),), privileged=True)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Lets torch compute on one thread: these networks are small, and tests may run beside each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_needs() -> Callable[..., Needs]:
    """Needs of recorders in a made-up environment: a state of 3 numbers, a privileged vector of 2, any cameras."""

    def make(
        *, cameras: tuple[str, ...] = (), size: int = 8, privileged: Layout | None = GOAL, **changes: Any
    ) -> Needs:
        values: dict[str, Any] = {
            "vectors": {"state": POSITION} | ({} if privileged is None else {"environment_state": privileged}),
            "cameras": dict.fromkeys(cameras, (size, size)),
            "instruction": True,
            "environments": {"SimScale/Toy-v0": "scene-digest"},
            "render_profile": "profile-digest" if cameras else None,
            "action": "displacement",
            "control_hz": 20,
            "max_episode_steps": 50,
        }
        return Needs(**values | changes)

    return make


@pytest.fixture
def make_episode() -> Callable[..., Arrays]:
    """Episodes whose action is a function of the first vector, so that there is something to learn."""

    def make(needs: Needs, seed: int, length: int = 6) -> Arrays:
        rng = np.random.default_rng(seed)
        vectors = {
            vector_key(name): rng.normal(size=(length, layout.size)).astype(np.float32)
            for name, layout in needs.vectors.items()
        }
        action = np.tanh(next(iter(vectors.values()))[:, [0, 1, 2, 0]])
        images = {
            image_key(camera): rng.integers(0, 256, (length, *size, 3), dtype=np.uint8)
            for camera, size in needs.cameras.items()
        }
        return vectors | images | {"action": action, "executed_action": action}

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

    def make(folder: Path, needs: Needs, *, episodes: int = 4, first_seed: int = 0, **metadata: Any) -> Path:
        with DatasetWriter(folder, needs) as writer:
            for index in range(episodes):
                arrays = make_episode(needs, first_seed + index, length=5 + index % 3)
                writer.write_episode(arrays, make_metadata(index, **metadata), index)
        return folder

    return make
