"""Machines that cannot draw."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mistake import COLLECT, Mistake, check

ROOT = Path(__file__).resolve().parents[2]

TABLE = {
    "rollout": Mistake("rollout --model vla --output new", "libegl1"),
    "collect": Mistake(f"{COLLECT} --cameras front", "libegl1"),
    "record": Mistake("record --model zero --env reach --output new", "libegl1"),
    "record one film": Mistake("record --model zero --env reach --seeds 1 --output a/film.gif", "libegl1"),
    "rollout with a video": Mistake("rollout --model zero --env reach --episodes 2 --video 1 --output new", "libegl1"),
    "rollout with a video in workers": Mistake(
        "rollout --model zero --env reach --episodes 2 --video 1 --workers 2 --output new", "libegl1"
    ),
    "contact sheet": Mistake("envs --contact-sheet new.png", "libegl1"),
}


@pytest.mark.parametrize("name", TABLE)
def test_without_gl_a_command_that_draws_is_one_line_and_changes_nothing(place, no_gl, capfd, name):
    check(TABLE[name], place, capfd)


@pytest.mark.parametrize(
    ("backend", "command", "said"),
    [
        ("egll", "--model zero --env reach", r"error: .*MUJOCO_GL: egll\); unset MUJOCO_GL, or .*\n"),
        pytest.param(
            "glfw",
            "--model zero --env reach --episodes 1 --video 1",
            r"error: cannot render .*libegl1.*\n",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="elsewhere windows need no DISPLAY"),
        ),
    ],
)
def test_a_gl_backend_that_is_none_is_one_line(tmp_path, backend, command, said):
    """MuJoCo reads the variable once, when it is imported."""
    words = [sys.executable, "-m", "eval.rollout", *command.split(" "), "--output", str(tmp_path / "new")]
    environment = {name: value for name, value in os.environ.items() if "DISPLAY" not in name} | {"MUJOCO_GL": backend}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.fullmatch(said, done.stderr), done.stderr
    assert not list(tmp_path.iterdir())
