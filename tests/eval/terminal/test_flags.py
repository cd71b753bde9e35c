"""Percentage points on the command line, and the command line that gives a configuration."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from eval.terminal.flags import Points, command_line
from simscaleai.command_line import parse
from simscaleai.errors import SimScaleError


@dataclass(frozen=True, kw_only=True)
class Config:
    """Do something."""

    model: str | None = None
    """What to evaluate."""
    checkpoint: Path | None = None
    """Where the weights are."""
    seeds: tuple[int, ...] | None = None
    """Seeds."""
    width: Points = None
    """Width."""
    terminate_on_success: bool = True
    """Whether to end."""


@pytest.mark.parametrize("text", ["5pp", "5%", "0.05"])
def test_points_may_be_written_in_many_ways(text):
    assert parse(Config, "x", ["--width", text]).width == pytest.approx(0.05)
    assert parse(Config, "x", []).width is None


def test_points_that_could_mean_two_things_are_refused():
    with pytest.raises(SimScaleError, match="percentage points such as 5pp"):
        parse(Config, "x", ["--width", "5"])


def test_a_command_line_says_every_choice_and_no_default():
    config = Config(model="a b:C", seeds=(3, 4), terminate_on_success=False, checkpoint=Path("x y"), width=0.05)
    words = "--model 'a b:C' --checkpoint 'x y' --seeds 3 4 --width 0.05 --no-terminate-on-success"
    assert command_line("rollout", config) == f"rollout {words}"
    assert parse(Config, "x", shlex.split(words)) == config
