"""`python -m simscaleai.data`: what it prints, what it leaves, how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from simscaleai.data import DatasetWriter
from simscaleai.data.__main__ import main


@pytest.fixture
def dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_needs: Any, make_episode: Any, make_metadata: Any
) -> Path:
    monkeypatch.chdir(tmp_path)
    needs = make_needs(cameras=("front",))
    with DatasetWriter("toy", needs, provenance={"policy": "me", "machine": {"cpu": "Z80"}}) as writer:
        for index, text in enumerate(["left", "right", "left"]):
            arrays = make_episode(needs, seed=index, length=20)
            writer.write_episode(arrays, make_metadata(index, instruction=text, success=index != 1), index)
        writer.discard_episode(make_metadata(3, success=False), 3)
    return Path("toy")


def test_info_says_what_a_dataset_holds(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "toy"]) == 0
    rows = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    rows = {name: text.strip() for name, text in rows.items()}
    assert rows["environment"] == "SimScale/Toy-v0"
    assert rows["episodes"] == "3, 2 successful; 1 discarded"
    assert rows["frames"] == "60, 3 s at 20 Hz"
    assert rows["instructions"] == "2 different: 'left', 'right'"
    assert rows["observation.state"] == "float32 3: position(3) [m]"
    assert rows["observation.environment_state"] == "float32 2: goal(2) [m] (privileged)"
    assert rows["observation.images.front"] == "uint8 8×8×3"
    assert rows["made with policy"] == '"me"'
    assert rows["made with machine.cpu"] == '"Z80"'
    size = sum(path.stat().st_size for path in dataset.rglob("*") if path.is_file())
    assert rows["size"] == f"{size / 1e6:.1f} MB"


def test_the_console_script_has_it(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from eval.__main__ import main as simscale

    assert simscale(["data", "info", "toy"]) == 0
    assert "60, 3 s at 20 Hz" in capsys.readouterr().out


def test_there_and_back(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--format", "lerobot", "toy", "--output", "out", "--privileged"]) == 0
    assert "LeRobotDataset v3.0 in out" in capsys.readouterr().out
    assert main(["import", "--format", "lerobot", "out", "--output", "back"]) == 0
    out = capsys.readouterr().out
    assert "note:" not in out
    assert "3, 2 successful; 1 discarded" in out
    for path in dataset.rglob("*.*"):
        assert (Path("back") / path.relative_to(dataset)).read_bytes() == path.read_bytes()


def test_foreign_data_say_what_is_missing(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "toy", "--output", "out"]) == 0
    Path("out/meta/simscaleai.json").unlink()
    flags = ["--rename", "executed_action=sent", "--cameras", "front", "--image-size", "16"]
    assert main(["import", "out", "--output", "back", *flags]) == 0
    out = capsys.readouterr().out
    assert "note: the environment is unknown" in out
    assert "unknown: policies can be trained on it, not evaluated" in out
    assert "3, 0 successful, 3 not judged; 0 discarded" in out
    assert "16×16×3" in out
    assert json.loads(Path("back/dataset.json").read_text())["provenance"]["renamed"] == {"executed_action": "sent"}
