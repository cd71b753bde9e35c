"""Installing a library for policies: complete and checked, or not there; and what the list says."""

import pytest

from policies.__main__ import main
from policies.foreign.libraries import find_library, library_names
from simscaleai.hosting.interpreters import data_folder, locked_version

FAKE = """#!/bin/sh
# Stands for a Python: "-m venv FOLDER" copies it there, "-m pip" succeeds, and as a host it ends at once.
case "$2" in
  venv) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  pip) echo "$@" >> {log} ;;
  *) echo "ModuleNotFoundError: No module named 'numpy'" >&2; exit 1 ;;
esac
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SIMSCALE_HOME", str(tmp_path / "home"))


def fake_python(folder):
    path = folder / "fake"
    path.write_text(FAKE.format(log=folder / "log"))
    path.chmod(0o755)
    return path


def test_a_library_that_does_not_work_is_removed_again(tmp_path, capsys):
    assert main(["install", "lerobot", "--python", str(fake_python(tmp_path))]) == 2
    assert "lerobot does not work" in capsys.readouterr().err
    assert not (data_folder() / "interpreters" / "lerobot").exists()


def test_torch_brings_what_it_needs_and_all_else_is_as_the_lock_says(tmp_path):
    main(["install", "lerobot", "--python", str(fake_python(tmp_path))])
    torch, others = (tmp_path / "log").read_text().splitlines()
    assert torch.endswith(f"--constraint {find_library('lerobot').lock} torch==2.13.0")
    assert others.endswith(f"--no-deps --requirement {find_library('lerobot').lock}")


@pytest.mark.parametrize(
    ("words", "problem"),
    [(["install", "lerobt"], "Did you mean 'lerobot'"), (["install"], "--name"), (["instal"], "instal")],
)
def test_mistakes(capsys, words, problem):
    assert main(words) == 2
    assert problem in capsys.readouterr().err


def test_the_list_says_how_to_install_a_library(capsys):
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert all(f"python -m policies install {name}" in printed for name in library_names())


@pytest.mark.parametrize("name", library_names())
def test_each_lock_file_names_one_version_of_each_package(name):
    library = find_library(name)
    lines = library.lock.read_text().splitlines()
    assert lines == sorted(lines, key=str.lower)
    assert all(line.count("==") == 1 for line in lines)
    assert locked_version(library.lock, "torch") == "2.13.0"
    assert not [line for line in lines if line.startswith(("nvidia", "cuda", "triton"))]
