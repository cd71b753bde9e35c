"""`python -m simscaleai.data check`: whole datasets pass, and each fault is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from simscaleai.data import DatasetWriter
from simscaleai.data.__main__ import main
from simscaleai.data.check import check_dataset

Change = Callable[[int, dict[str, NDArray[Any]]], None]


def wrong(folder: Path) -> list[tuple[str, str]]:
    return [(finding.name, finding.text) for finding in check_dataset(folder) if finding.is_wrong]


def text(folder: Path) -> str:
    return "\n".join(f"{finding.name}: {finding.text}" for finding in check_dataset(folder))


@pytest.fixture
def make(tmp_path: Path, make_needs: Any, make_episode: Any, make_metadata: Any) -> Callable[..., Path]:
    """A dataset of three episodes of 30 steps with one camera, whose arrays `change` may change first."""

    def make(change: Change = lambda index, arrays: None, **metadata: Any) -> Path:
        needs = make_needs(cameras=("front",))
        with DatasetWriter(tmp_path / "data", needs) as writer:
            for index in range(3):
                arrays = {key: values.copy() for key, values in make_episode(needs, seed=index, length=30).items()}
                change(index, arrays)
                writer.write_episode(arrays, make_metadata(index, **metadata), index)
        return tmp_path / "data"

    return make


def test_a_whole_dataset_passes_and_every_kind_is_mentioned(make: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(make())]) == 0
    said = capsys.readouterr().out
    for kind in ("digests", "task", "time", "observation.state", "action", "statistics", "camera front", "result"):
        assert f"\n{kind}" in f"\n{said}"
    assert "8×8, 8 bits, values 0 to 255" in said
    assert "nothing is wrong" in said
    assert "WRONG" not in said


def test_a_changed_byte_is_wrong(make: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make()
    path = folder / "episodes/episode_000001.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    assert main(["check", str(folder)]) == 1
    said = capsys.readouterr().out
    assert "WRONG: 1 of 3 files have another SHA-256 than listed: episode_000001.safetensors" in said
    assert said.splitlines()[-1].endswith("faults")


def explode(index: int, arrays: dict[str, NDArray[Any]]) -> None:
    if index == 1:
        arrays["observation.state"][7, 1] = 3e9


def black(index: int, arrays: dict[str, NDArray[Any]]) -> None:
    arrays["observation.images.front"][:] = 0


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        (explode, "observation.state", "exploding: position.1 (up to 3e+09"),
        (black, "camera front", "every pixel of every frame has one value"),
    ],
)
def test_numbers_that_nobody_can_have_meant_are_wrong(make: Any, change: Change, name: str, said: str) -> None:
    ((found_name, found_text),) = wrong(make(change))
    assert found_name == name
    assert said in found_text


def still(index: int, arrays: dict[str, NDArray[Any]]) -> None:
    if index == 2:
        arrays["observation.images.front"][:] = arrays["observation.images.front"][0]


def flat(index: int, arrays: dict[str, NDArray[Any]]) -> None:
    arrays["observation.images.front"] //= 100


def constant(index: int, arrays: dict[str, NDArray[Any]]) -> None:
    arrays["action"][:, 3] = 1


def spikes(index: int, arrays: dict[str, NDArray[Any]]) -> None:
    arrays["observation.state"][:, 2] = 0
    arrays["observation.state"][4, 2] = 80  # a contact force


def copies(index: int, arrays: dict[str, NDArray[Any]]) -> None:
    for key, values in arrays.items():
        arrays[key] = np.zeros_like(values) + np.arange(30, dtype=values.dtype).reshape(-1, *[1] * (values.ndim - 1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (still, "1 of 3 episodes show one picture throughout"),
        (still, "32.2 % of the frames repeat the last"),
        (flat, "only values 0 to 2: were the images converted"),
        (constant, "action: constant: 3"),
        (spikes, "observation.state: 3 entries, all finite"),
        (copies, "2 episodes are copies of another one"),
    ],
)
def test_what_may_be_meant_is_mentioned_and_not_wrong(make: Any, change: Change, said: str) -> None:
    folder = make(change)
    assert said in text(folder)
    assert wrong(folder) == []


def test_missing_instructions_are_wrong_where_they_are_needed(make: Any) -> None:
    assert wrong(make(instruction=" ")) == [("task", "3 of 3 episodes have no instruction")]


def test_values_that_are_not_finite_are_wrong(make: Any) -> None:
    folder = make()
    path = folder / "episodes/episode_000000.safetensors"
    arrays = load_file(path)
    arrays["action"][3, 2] = np.inf
    save_file(arrays, path)
    lines = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    lines[0]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert ("action", "not finite: 2") in wrong(folder)


def edit(folder: Path, change: Callable[[Any], object]) -> None:
    data = json.loads((folder / "dataset.json").read_text())
    change(data)
    (folder / "dataset.json").write_text(json.dumps(data))


def test_a_description_that_contradicts_the_episodes_is_wrong(make: Any) -> None:
    folder = make()
    edit(folder, lambda data: data["statistics"]["action"]["std"].__setitem__(0, 5.0))
    edit(folder, lambda data: data["needs"].update(max_episode_steps=20))
    assert wrong(folder) == [
        ("time", "30 to 30 steps an episode at 20 Hz, at most 20"),
        ("statistics", "those stored are not those of the episodes: action"),
    ]


def test_a_dataset_that_was_not_closed_says_so(make: Any) -> None:
    folder = make()
    edit(folder, lambda data: data.update(statistics={}))
    assert "the dataset was not closed" in text(folder)
    assert wrong(folder) == []


def test_an_import_says_what_it_checked(make: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, exported = make(black), tmp_path / "exported"
    assert main(["export", str(folder), "--output", str(exported)]) == 0
    assert main(["import", str(exported), "--output", str(tmp_path / "again")]) == 1
    said = capsys.readouterr().out
    assert "digests" in said
    assert "WRONG: every pixel of every frame has one value" in said


def test_what_is_no_dataset_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_names_of_others_cannot_control_the_terminal(make: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make()
    edit(folder, lambda data: data["needs"]["vectors"]["state"]["features"][0].update(name="a\x1b[2J\nb"))
    edit(folder, lambda data: data.update(provenance={"x\x1b[2J": "y\x1b[2J"}))
    for command in ("info", "check"):
        assert main([command, str(folder)]) == 0
        out = capsys.readouterr().out
        assert all(line.isprintable() for line in out.splitlines())
        assert "\nb" not in out
