"""`python -m envs`: true, quick, and without a simulator."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import envs.__main__
from envs import ENVIRONMENTS, describe
from envs.catalogue import catalogue
from envs.registration import _TASKS
from eval import rollout

ROOT = Path(__file__).resolve().parents[2]


def test_the_words_hold_what_the_environments_are():
    entries = {entry.env_id: entry for entry in catalogue()}
    assert {entry.name: entry.env_id for entry in entries.values()} == ENVIRONMENTS
    for env_id, entry in entries.items():
        contract = describe(env_id)
        sizes = {key: int(size) for key, size in re.findall(r"(\w+) \((\d+)\)", entry.sections["Observation"])}
        assert sizes["state"] == contract.state.size
        assert sizes["environment_state"] == contract.environment_state.size
        assert f"after {contract.max_episode_steps} control steps" in entry.sections["Episode end"]
        assert entry.sections["Success"]
        assert entry.summary.endswith(".")


def test_the_list_names_everything(capsys):
    assert envs.__main__.main([]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for name, env_id in ENVIRONMENTS.items():
        assert f"{name} {env_id}" in out
    assert "success The end effector is within 20 mm of the goal." in out
    assert "state (18): joint positions 7 [rad]" in out
    assert "Box(-1, 1, (4,), float32)" in out
    assert "`" not in out
    assert "*" not in out


def test_the_list_needs_no_simulator_and_takes_no_time():
    code = (
        "import sys, time; began = time.process_time(); from envs.__main__ import main; main([]); "
        "print(time.process_time() - began, sorted({'mujoco', 'torch', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, _, loaded = done.stdout.splitlines()[-1].partition(" ")
    assert loaded == "[]"
    assert float(seconds) < 1.0


def test_lines_fit_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    envs.__main__.main([])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 70


def test_a_task_of_ones_own_is_listed(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_task.py").write_text(
        'class Stack:\n    """Stack two cubes.\n\n    **Success.** One cube\n    rests on the other.\n    """\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(ENVIRONMENTS, "stack", "Test/Stack-v0")
    monkeypatch.setitem(_TASKS, "Test/Stack-v0", "my_task:Stack")
    assert catalogue()[-1].sections == {"Success": "One cube rests on the other."}
    assert envs.__main__.main([]) == 0
    assert "success      One cube rests on the other." in capsys.readouterr().out
    monkeypatch.setitem(_TASKS, "Test/Stack-v0", "my_task:Pile")
    assert envs.__main__.main([]) == 2
    assert "no class 'Pile'" in capsys.readouterr().err


def test_the_contact_sheet_shows_every_environment(tmp_path, capsys):
    path = tmp_path / "new" / "sheet.png"
    assert envs.__main__.main(["--contact-sheet", str(path)]) == 0
    assert capsys.readouterr().out.strip() == str(path)
    assert [file.name for file in path.parent.iterdir()] == ["sheet.png"]
    sheet = np.asarray(Image.open(path).convert("RGB"))
    rows = np.array_split(sheet, len(ENVIRONMENTS))
    for index, row in enumerate(rows):
        assert row.std() > 20
        for other in rows[index + 1 :]:
            assert np.abs(row[: len(other)].astype(int) - other[: len(row)]).mean() > 1


@pytest.mark.parametrize(
    ("name", "message"),
    [("sheet.jpg", "expected a name that ends in .png, got"), ("file/sheet.png", "error: ")],
)
def test_a_contact_sheet_that_cannot_be_written_is_one_line(tmp_path, capsys, monkeypatch, name, message):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("envs.contact_sheet._first_frames", lambda env_id: ("", [np.zeros((8, 8, 3), np.uint8)] * 5))
    assert envs.__main__.main(["--contact-sheet", str(tmp_path / name)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("envs.raech:Reach", "cannot find module 'envs.raech' of the registered task 'envs.raech:Reach'"),
        ("envs.reach:Raech", "no class 'Raech' in "),
    ],
)
def test_a_task_registered_under_a_wrong_name_is_named(monkeypatch, capsys, location, said):
    monkeypatch.setitem(_TASKS, ENVIRONMENTS["reach"], location)
    assert rollout.main(["--model", "zero", "--env", "reach", "--episodes", "1"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {said}")


def test_a_scene_that_is_not_there_is_named_with_its_folder(monkeypatch, capsys):
    monkeypatch.setattr("envs.reach.Reach.scene", "raech")
    assert rollout.main(["--model", "zero", "--env", "reach", "--episodes", "1"]) == 2
    assert re.match(r"error: asset 'raech\.xml' is missing: expected it in /.*/assets,", capsys.readouterr().err)
