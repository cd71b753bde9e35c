"""`python -m envs`: true, quick, and without a simulator."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import envs.__main__
from envs import environment_names, find_environment, register_task
from envs.catalogue import catalogue
from envs.registration import _REGISTERED

ROOT = Path(__file__).resolve().parents[2]


def test_the_words_hold_what_the_environments_are():
    entries = catalogue()
    assert {entry.name: entry.env_id for entry in entries} == environment_names()
    for entry in entries:
        spec = find_environment(entry.name).offer()
        sizes = {key: int(size) for key, size in re.findall(r"(\w+) \((\d+)\)", entry.sections["Observation"])}
        assert sizes == {key: layout.size for key, layout in spec.vectors.items()}
        assert f"after {spec.max_episode_steps} control steps" in entry.sections["Episode end"]
        assert entry.sections["Success"] == spec.success
        assert entry.summary.endswith(".")


def test_the_list_names_everything(capsys):
    assert envs.__main__.main([]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for name, env_id in environment_names().items():
        assert f"{name} {env_id}" in out
    assert "success The end effector is within 20 mm of the goal." in out
    assert "state (20): joint positions 7 [rad]" in out
    assert "Box(-1, 1, (4,), float32)" in out
    assert "cameras=('front', 'wrist') adds front and wrist" in out
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


@pytest.mark.filterwarnings("ignore:.*Overriding environment")
def test_a_task_of_ones_own_is_listed(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_task.py").write_text(
        'class Pour:\n    """Pour out a cup.\n\n    **Success.** The cup\n    is empty.\n    """\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    register_task("pour", "Test/Pour-v0", "my_task:Pour")
    try:
        assert catalogue()[-1].sections == {"Success": "The cup is empty."}
        assert envs.__main__.main([]) == 0
        assert "success      The cup is empty." in capsys.readouterr().out
        register_task("pour", "Test/Pour-v0", "my_task:Fill")
        assert envs.__main__.main([]) == 2
        assert "no class 'Fill'" in capsys.readouterr().err
    finally:
        del _REGISTERED["pour"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--contact-shet", "x.png"], "Did you mean --contact-sheet?"), (["reach"], "reach")],
)
def test_a_wrong_command_line_is_one_line(capfd, arguments, message):
    assert envs.__main__.main(arguments) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
