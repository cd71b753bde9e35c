"""Exit codes: what each way to end a command is for scripts."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from eval.terminal.command import config_to_json, run_command, shape_text
from simscaleai.errors import SimScaleError


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
