"""Exit codes: what each way to end a command is for scripts."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from eval.terminal.command import config_to_json, run_command, shape_text
from simscaleai.errors import SimScaleError

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Config:
    """Do something."""

    episodes: int = 3
    """Number of episodes."""
    output: Path | None = None
    """Where to write."""
    seeds: tuple[int, ...] = ()
    """Seeds."""


def outcome(error=None, arguments=(), **options):
    """Returns the exit code of a command that raises `error`, or returns its number of episodes."""

    def run(config):
        if error is not None:
            raise error
        return config.episodes

    return run_command(Config, run, "python -m something", list(arguments), **options)


def test_the_command_itself_says_how_it_ended():
    assert outcome(arguments=["--episodes", "1"]) == 1


@pytest.mark.parametrize("error", [SimScaleError("expected a policy"), FileNotFoundError(2, "No such file", "x")])
def test_a_mistake_is_one_line_and_exit_code_2(capsys, error):
    assert outcome(error) == 2
    assert outcome(error, wrong_usage=3) == 3
    first, second = capsys.readouterr().err.splitlines()
    assert first == second
    assert first.startswith("error: ")


def test_an_unknown_flag_is_wrong_usage(capsys):
    assert outcome(arguments=["--episode", "1"]) == 2
    assert "See python -m something --help." in capsys.readouterr().err


def test_an_interrupted_command_ends_with_130(capsys):
    assert outcome(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("error", [RuntimeError("a bug"), AssertionError("a bug"), KeyError("a bug")])
def test_a_bug_is_a_traceback_and_an_exit_code_that_means_nothing_else(capsys, error):
    assert outcome(error, wrong_usage=3) == 70
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert "a bug" in err


def test_help_is_no_error(capsys):
    with pytest.raises(SystemExit) as ended:
        outcome(arguments=["--help"])
    assert not ended.value.code
    assert "Number of episodes." in capsys.readouterr().out


def test_a_configuration_becomes_plain_json():
    data = config_to_json(Config(output=Path("runs/a"), seeds=(1, 2)))
    assert data == {"episodes": 3, "output": "runs/a", "seeds": [1, 2]}
    assert json.loads(json.dumps(data)) == data


def test_the_shape_of_a_run_in_words():
    assert shape_text(16, 1) == "16 at a time"
    assert shape_text(16, 3) == "16 at a time in each of 3 workers"


@pytest.mark.parametrize("code", [None, 0, 1, "bye"])
def test_an_exit_of_other_code_is_a_mistake_and_not_the_exit_code(capsys, code):
    assert outcome(SystemExit(code)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: a policy, an environment or a library called sys.exit({code!r})")


def test_log_records_and_tracebacks_are_printable(tmp_path, monkeypatch):
    """In a process of its own: pytest handles the log records of this one."""
    code = (
        "import logging\nfrom dataclasses import dataclass\nfrom eval.terminal.command import run_command\n\n\n"
        "def run(config):\n"
        "    try:\n        raise ValueError('\\x1b[2J')\n"
        "    except ValueError:\n        logging.getLogger('eval').exception('it failed: \\x9b')\n"
        "    raise RuntimeError('\\x1b[2J')\n\n\n"
        '@dataclass\nclass Config:\n    """Do it."""\n\n\n'
        "print(run_command(Config, run, 'x', []))\n"
    )
    monkeypatch.chdir(tmp_path)
    Path("command.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "command.py"], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "70\n"
    lines = done.stderr.splitlines()
    assert lines[0] == r"it failed: \x9b"
    assert r"ValueError: \x1b[2J" in lines
    assert lines[-1] == r"RuntimeError: \x1b[2J" or lines[-2] == r"RuntimeError: \x1b[2J"


def test_a_message_shows_paths_in_the_working_directory_as_they_are_typed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert outcome(SimScaleError(f"{tmp_path}/a/b is not empty, {tmp_path}x is")) == 2
    assert capsys.readouterr().err == f"error: a/b is not empty, {tmp_path}x is\n"
