"""The recipes of CONTRIBUTING.md, as they are printed there, and the paths that it names."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from eval.runs.reading import read_run

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
_, _, RECIPES = TEXT.partition("## Recipes")
RECIPES, _, _ = RECIPES.partition("\n## ")
FILES = dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```", RECIPES, re.MULTILINE | re.DOTALL))
"""Name to source."""
(REGISTRATION,) = re.findall(r"^register_task.*$", RECIPES, re.MULTILINE)
COMMANDS = re.findall(r"^python -m (\S+) (.*)$", RECIPES, re.MULTILINE)

DRIVER = """
import importlib, runpy, shlex
import envs.tabletop.tasks
from envs import register_task
envs.tabletop.tasks.__path__.append("envs/tabletop/tasks")
REGISTRATION
for module, arguments in COMMANDS:
    assert importlib.import_module(module).main(shlex.split(arguments)) == 0, module
runpy.run_path("measure.py")
"""


def code_lines(source):
    return [line for line in source.splitlines() if line.strip()]


@pytest.mark.parametrize("name", FILES)
def test_a_recipe_is_at_most_ten_lines(name):
    assert len(code_lines(FILES[name])) <= 10


@pytest.mark.slow
def test_the_recipes_work(tmp_path):
    for name, source in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    driver = DRIVER.replace("REGISTRATION", REGISTRATION).replace("COMMANDS", repr(COMMANDS))
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    done = subprocess.run(
        [sys.executable, "-c", driver], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for name, least in (("upward", 8), ("linear", 6)):
        assert least <= read_run(tmp_path / "runs" / name).successes <= 8
    height = re.fullmatch(r"8 episodes, (\d\.\d+) m", done.stdout.splitlines()[-1])
    assert 0.3 < float(height[1]) <= 0.35  # the last look is before the last step


def test_the_files_that_it_names_exist():
    tables, _, _ = TEXT.partition("## Recipes")
    named = set(re.findall(r"`([\w.]+(?:/[\w.]+)+/?)`", tables))
    assert len(named) > 20
    assert {name for name in named if not (ROOT / name).exists()} == set()
