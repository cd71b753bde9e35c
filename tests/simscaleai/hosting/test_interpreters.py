"""Virtual environments from lock files: complete or not there, and one line for what goes wrong."""

import errno
import shutil
import sys
from pathlib import Path

import pytest

from envs.__main__ import main
from envs.foreign.suites import find_suite, suite_names
from simscaleai.command_line import say_mistake
from simscaleai.errors import SimScaleError
from simscaleai.hosting.interpreters import (
    PYTHON_VARIABLE,
    choose_interpreter,
    chosen_interpreter,
    data_folder,
    find_python,
    install,
    installed_python,
    is_installed,
    locked_version,
    read_report,
    uninstall,
    write_report,
)

FAKE = """#!/bin/sh
# Stands for a Python: "-m venv FOLDER" copies it there, "-m pip install …" says what pip would say.
case "$2" in
  venv) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  pip) {pip} ;;
esac
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SIMSCALE_HOME", str(tmp_path / "home"))


@pytest.fixture
def lock(tmp_path):
    (tmp_path / "toy.txt").write_text("toy-world==1.2\nNumPy==2.0.1\n")
    return tmp_path / "toy.txt"


def python(folder, pip="true"):
    (folder / "fake").write_text(FAKE.format(pip=pip))
    (folder / "fake").chmod(0o755)
    return folder / "fake"


def left():
    return [path.name for path in (data_folder() / "interpreters").iterdir()]


def test_what_is_installed_is_found_until_the_lock_changes(tmp_path, lock):
    said = []
    with pytest.raises(SimScaleError, match="python -m envs install toy"):
        installed_python("toy", lock)
    install("toy", lock, python(tmp_path), said.append)
    assert installed_python("toy", lock).exists()
    assert "2 packages" in said[1]
    write_report("toy", {"speed": 3})
    assert read_report("toy") == {"speed": 3}
    lock.write_text("toy-world==1.3\n")
    assert not is_installed("toy", lock)
    with pytest.raises(SimScaleError, match="another version"):
        installed_python("toy", lock)
    install("toy", lock, python(tmp_path), said.append)
    assert is_installed("toy", lock)
    assert read_report("toy") == {}
    assert left() == ["toy"]
    uninstall("toy")
    assert left() == []


@pytest.mark.parametrize(
    ("pip", "problem"),
    [
        ('echo "ERROR: Could not install packages due to an OSError: No space left on device" >&2; exit 1', "No space"),
        ('echo "ERROR: No matching distribution found for toy-world==1.2" >&2; exit 1', "No matching distribution"),
        ("kill -9 $$", "exit code -9"),
    ],
)
def test_nothing_half_installed_is_left(tmp_path, lock, pip, problem):
    with pytest.raises(SimScaleError, match=problem) as mistake:
        install("toy", lock, python(tmp_path, pip), lambda text: None)
    assert "\n" not in str(mistake.value)
    assert left() == []


def test_a_disk_that_is_full_at_the_end_leaves_nothing(tmp_path, lock, monkeypatch, capsys):
    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    fake = python(tmp_path)
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left") as error:
        install("toy", lock, fake, lambda text: None)
    say_mistake(error.value)
    (line,) = capsys.readouterr().err.splitlines()
    assert "No space left on device" in line
    assert left() == []


def test_a_suite_that_does_not_start_is_not_left_installed(tmp_path, capsys):
    assert main(["install", "pusht", "--python", str(python(tmp_path))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: pusht cannot be evaluated")
    assert left() == []


def test_a_failure_keeps_what_was_installed_before(tmp_path, lock):
    install("toy", lock, python(tmp_path), lambda text: None)
    with pytest.raises(SimScaleError):
        install("toy", lock, python(tmp_path, "exit 1"), lambda text: None)
    assert is_installed("toy", lock)


def test_what_a_killed_installation_left_is_removed(tmp_path, lock):
    (data_folder() / "interpreters" / ".toy.unfinished" / "lib").mkdir(parents=True)
    install("toy", lock, python(tmp_path), lambda text: None)
    assert left() == ["toy"]


def test_an_interpreter_that_does_not_start(tmp_path, lock):
    with pytest.raises(SimScaleError, match="does not start"):
        install("toy", lock, tmp_path / "none", lambda text: None)
    assert left() == []


def test_an_interpreter_in_the_working_directory_goes_before_one_of_the_search_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(PYTHON_VARIABLE, "")
    choose_interpreter(Path("python3"))
    assert chosen_interpreter() == Path(shutil.which("python3")).absolute()
    Path("python3").symlink_to(sys.executable)
    choose_interpreter(Path("./python3"))
    assert chosen_interpreter() == tmp_path / "python3"
    with pytest.raises(SimScaleError, match="expected --env-python with a Python interpreter, got nowhere/python"):
        choose_interpreter(Path("nowhere/python"))


def test_find_python():
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert str(find_python(("9.9", own))) == sys.executable
    with pytest.raises(SimScaleError, match=r"expected a Python 9.9 or 9.8, found none"):
        find_python(("9.9", "9.8"))


def test_locked_version(lock):
    assert locked_version(lock, "numpy") == "2.0.1"
    assert locked_version(lock, "torch") is None


@pytest.mark.parametrize("name", suite_names())
def test_each_suite_locks_the_packages_that_decide_its_results(name):
    suite = find_suite(name)
    assert all(locked_version(suite.lock, package) for package in suite.packages)
    assert suite.checked in suite.environments
    assert all(instruction for instruction in suite.tasks.values())
    assert {task for tasks in suite.groups.values() for task in tasks} <= suite.tasks.keys()


def test_the_list_says_how_to_install_a_suite(capsys):
    assert main([]) == 0
    assert "python -m envs install pusht" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["install", "metawrold"], "Did you mean 'metaworld'"),
        (["check", "metaworld/reach-v3"], "python -m envs install metaworld"),
        (["check", "metaworld/reech-v3"], "Did you mean 'metaworld/reach-v3'"),
        (["check", "metaworld"], "Unknown environment 'metaworld'"),
    ],
)
def test_mistakes(capsys, words, problem):
    assert main(words) == 2
    assert problem in capsys.readouterr().err
