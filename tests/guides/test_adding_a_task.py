"""The guide to a new task, followed in a copy of the packages."""

import re
import shutil
from pathlib import Path

import pytest

from eval.runs.reading import read_run

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_task_is_one_file_and_one_line(guide, tmp_path):
    page = guide("adding_a_task")
    for package in ("envs", "policies", "eval", "simscaleai"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    page.write_files()
    places = re.findall(r"`(envs/__init__.py|policies/scripted/experts.py)`", page.text)
    for place, line in zip(places, page.blocks(""), strict=True):
        with (tmp_path / place).open("a") as file:
            file.write(f"\n{line}")
    assert "all promises are kept" in page.run(code=tmp_path)
    expert, random, learner = (read_run(tmp_path / "runs" / name).successes for name in ("expert", "random", "bc"))
    assert expert >= 199
    assert random <= 10
    assert learner >= 190
