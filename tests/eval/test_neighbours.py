import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def start(folder, *words):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("command", ["eval.rollout", "eval.collect", "eval.record", "eval.compare"])
def test_a_command_says_in_one_line_what_shadows_our_packages(tmp_path, command):
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").write_text("")
    done = start(tmp_path, "-m", command, "--help")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert f"'envs' comes from {tmp_path / 'envs'}" in line


def test_an_import_from_python_raises_and_names_a_single_module_too(tmp_path):
    (tmp_path / "policies.py").write_text("")
    done = start(tmp_path, "-c", "import eval.runs.run")
    assert done.stderr.splitlines()[-1].startswith("eval.neighbours.ShadowedPackageError: expected the packages beside")
    assert f"'policies' comes from {tmp_path / 'policies.py'}" in done.stderr


def test_nothing_is_said_from_a_folder_without_such_packages(tmp_path):
    done = start(tmp_path, "-m", "eval.rollout", "--help")
    assert (done.returncode, done.stderr) == (0, "")
