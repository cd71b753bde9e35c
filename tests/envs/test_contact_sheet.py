"""`python -m envs --contact-sheet`: pictures of every environment."""

import numpy as np
import pytest
from PIL import Image

import envs.__main__
from envs import Registration, environment_names, find_environment
from envs.contact_sheet import save_contact_sheet
from envs.slots import ActionSpec, EnvSpec


@pytest.fixture
def one_seed(monkeypatch):
    """Draws one seed of each camera only, which is quicker."""
    monkeypatch.setattr("envs.contact_sheet._SEEDS", 1)


@pytest.mark.usefixtures("one_seed")
def test_the_contact_sheet_shows_every_environment(tmp_path, capsys):
    path = tmp_path / "new" / "sheet.png"
    assert envs.__main__.main(["--contact-sheet", str(path)]) == 0
    assert capsys.readouterr().out.strip() == str(path)
    assert [file.name for file in path.parent.iterdir()] == ["sheet.png"]
    sheet = np.asarray(Image.open(path).convert("RGB"))
    rows = np.array_split(sheet, len(environment_names()))
    for index, row in enumerate(rows):
        assert row.std() > 20
        for other in rows[index + 1 :]:
            assert np.abs(row[: len(other)].astype(int) - other[: len(row)]).mean() > 1


@pytest.mark.slow
def test_the_sheet_of_perturbations_has_a_row_per_axis_and_a_column_per_level(tmp_path):
    path = tmp_path / "sheet.png"
    assert envs.__main__.main(["--contact-sheet", str(path), "--perturbations-of", "reach"]) == 0
    sheet = np.asarray(Image.open(path).convert("RGB")).astype(int)
    axes = find_environment("reach").offer().axes
    names = [axis.name for axis in axes]
    rows = dict(zip(names, np.array_split(sheet[:-8], len(axes)), strict=True))
    levels = np.array_split(rows["table.colour"][44:300, 8:], 6, axis=1)
    changes = [np.abs(level - levels[0]).mean() for level in levels]
    assert changes == sorted(changes)
    assert changes[5] > 20


def test_a_sheet_of_perturbations_needs_a_file(capsys):
    assert envs.__main__.main(["--perturbations-of", "reach"]) == 2
    assert "add --contact-sheet FILE.png" in capsys.readouterr().err


@pytest.mark.usefixtures("one_seed")
def test_an_environment_that_cannot_be_filmed_is_left_out(tmp_path):
    spec = EnvSpec(
        env_id="Test/Blind-v0",
        digest="",
        vectors={},
        action=ActionSpec(names=(), low=(), high=(), meaning=""),
        control_hz=1,
        max_episode_steps=1,
        success="",
    )
    blind = Registration("blind", "Test/Blind-v0", lambda: spec, make=None)
    save_contact_sheet(tmp_path / "one.png", [find_environment("reach")])
    save_contact_sheet(tmp_path / "two.png", [blind, find_environment("reach")])
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


@pytest.mark.parametrize(
    ("name", "message"),
    [("sheet.jpg", "expected a name that ends in .png, got"), ("file/sheet.png", "error: ")],
)
def test_a_contact_sheet_that_cannot_be_written_is_one_line(tmp_path, capsys, name, message):
    (tmp_path / "file").write_text("")
    assert envs.__main__.main(["--contact-sheet", str(tmp_path / name)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
