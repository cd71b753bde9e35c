"""What the README shows, as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from eval.observers.film.video_file import GIF_BYTES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def section(title):
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def block(title, language=""):
    return re.search(rf"^```{language}\n(.*?)^```", section(title), re.MULTILINE | re.DOTALL)[1]


def started(folder, *words):
    """Returns what a command prints in `folder`, with `python` as the one that runs the tests."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": path}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_policy_of_your_own_takes_five_lines(tmp_path):
    source = block("Your own policy and environment", "python")
    assert len([line for line in source.splitlines() if line.strip()]) == 5
    (tmp_path / "my_policy.py").write_text(source)
    commands = re.findall(r"^python -m .*$", section("Your own policy and environment"), re.MULTILINE)
    assert len(commands) == 2
    out = started(tmp_path, "bash", "-euc", "\n".join(commands))
    assert "success once         50/50" in out


@pytest.mark.slow
def test_the_loop_is_five_commands_and_the_learner_comes_up_to_the_expert(tmp_path):
    commands = block("The loop")
    assert len(commands.splitlines()) == 5
    out = started(tmp_path, "bash", "-euc", commands)
    assert "verdict              B is within the margin" in out
    assert (tmp_path / "report.html").is_file()


def test_the_film_at_the_top_is_light_enough_for_a_page():
    assert (ROOT / "docs/demo.gif").stat().st_size <= GIF_BYTES


def test_a_newcomer_reads_it_in_two_minutes():
    assert len(README.splitlines()) <= 150
