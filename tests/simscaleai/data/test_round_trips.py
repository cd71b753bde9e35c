"""A dataset that was exported and imported again is the dataset that it was, in every format of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simscaleai.data import DatasetWriter
from simscaleai.data.lerobot import export_lerobot, import_lerobot
from simscaleai.data.minari import export_minari, import_minari
from simscaleai.data.robomimic import export_robomimic, import_robomimic

FORMATS: dict[str, tuple[Any, Any]] = {
    "lerobot": (export_lerobot, import_lerobot),
    "minari": (export_minari, import_minari),
    "robomimic": (export_robomimic, import_robomimic),
}
SHAPES: dict[str, list[tuple[int, ...]]] = {
    "lerobot": [(), (1,), (3,)],
    "minari": [(), (1,), (3,), (2, 3)],
    "robomimic": [(), (1,), (3,), (2, 3)],
}
"""Shapes of an array at a step that each format can hold."""


@pytest.fixture
def comes_back(tmp_path: Path, contents: Any) -> Any:
    """Exports and imports a dataset, and compares all bytes."""

    def check(source: Path, name: str) -> bool:
        write, read = FORMATS[name]
        write(source, tmp_path / "exported", privileged=True)
        assert read(tmp_path / "exported", tmp_path / "back") == []
        return bool(contents(tmp_path / "back") == contents(source))

    return check


@pytest.mark.parametrize("name", FORMATS)
def test_what_comes_back_is_the_same_to_the_last_byte(
    name: str, write_source: Any, make_needs: Any, comes_back: Any
) -> None:
    assert comes_back(write_source(make_needs(cameras=("front", "wrist"), size=32)), name)


@pytest.mark.parametrize("dtype", ["float64", "int64", "int32", "bool", "uint8"])
@pytest.mark.parametrize(("name", "shape"), [(name, shape) for name, shapes in SHAPES.items() for shape in shapes])
def test_arrays_of_any_type_come_back(
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    tmp_path: Path,
    make_needs: Any,
    make_episode: Any,
    make_metadata: Any,
    comes_back: Any,
) -> None:
    needs = make_needs()
    arrays = make_episode(needs, seed=0, length=4)
    arrays["extra"] = np.random.default_rng(0).integers(0, 2, (4, *shape)).astype(dtype)
    with DatasetWriter(tmp_path / "source", needs) as writer:
        writer.write_episode(arrays, make_metadata(0), 0)
    assert comes_back(tmp_path / "source", name)
