"""What whole commands print: for people, for scripts, on a terminal and off it."""

import json
import os
import pty
import re
import subprocess
import sys
import termios
from itertools import pairwise
from pathlib import Path

import pytest

from eval import collect, compare, record, rollout, validate

ROOT = Path(__file__).resolve().parents[3]
FEW = ["--env", "reach", "--episodes", "3", "--seed", "3000000000"]

pytestmark = pytest.mark.usefixtures("workdir")


def test_rollout_for_scripts_prints_one_object_that_names_the_files(capsys):
    assert rollout.main(["--model", "scripted", *FEW, "--output", "run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["folder"] == "run"
    assert found["summary"]["successes"] == 3
    assert found["summary"]["wilson_95"] == json.loads(Path("run/run.json").read_text())["summary"]["wilson_95"]
    assert found["replay"] == "python -m eval.rollout --env reach --model scripted --seeds 3000000000"


def test_a_choice_between_checkpoints_for_scripts_is_one_object(capsys):
    flags = ["scripted", "zero", "--env", "reach", "--episodes", "2", "--output", "choice", "--json"]
    assert validate.main(flags) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["folder"], found["best"]) == ("choice", "scripted")


def test_quiet_commands_print_nothing_and_do_their_work(capfd):
    assert rollout.main(["--model", "zero", *FEW, "--output", "a", "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")
    assert rollout.main(["--model", "zero", *FEW, "--output", "a", "--resume"]) == 0
    assert "complete, nothing to resume" in capfd.readouterr().out
    assert rollout.main(["--model", "scripted", *FEW, "--output", "b", "--quiet", "--workers", "2"]) == 0
    assert compare.main(["a", "b", "--quiet"]) == 2
    assert collect.main(["--env", "reach", "--episodes", "2", "--cameras", "--output", "data", "--quiet"]) == 0
    assert collect.main(["--verify", "data", "--quiet"]) == 0
    film = ["--model", "zero", "--env", "reach", "--seeds", "1", "--size", "32", "--output", "film.mp4"]
    assert record.main([*film, "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")
    assert Path("film.mp4").is_file()


def test_quiet_is_not_deaf(capsys):
    assert rollout.main(["--model", "zeroo", *FEW, "--quiet"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: Unknown policy 'zeroo'")


def test_collect_for_scripts_prints_one_object(capsys):
    arguments = ["--env", "reach", "--episodes", "2", "--cameras", "--output", "data", "--json"]
    assert collect.main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["folder"], found["episodes"], found["summary"]["successes"]) == ("data", 2, 2)
    assert collect.main(["--verify", "data", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differences"] == {}


def test_the_closing_panel_names_every_file(capsys):
    assert rollout.main(["--model", "zero", *FEW, "--output", "run", "--video", "1"]) == 0
    shown = dict(re.findall(r"^(\w[\w ]*?)  +(.*)$", capsys.readouterr().out, re.MULTILINE))
    assert shown["record"] == "run/run.json"
    assert shown["episodes"] == "run/episodes.jsonl"
    assert shown["videos"] == "run/videos, 1 file"
    assert shown["for a report"] == "python -m eval.report run"


def on_a_terminal(*arguments, **variables):
    """Returns what a command prints on a terminal."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 110))
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environment = {**inherited, "TERM": "xterm", "PYTHONPATH": str(ROOT), **variables}
    words = [sys.executable, "-m", *arguments]
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment):
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 1 << 16):
                shown += part
        except OSError:  # how Linux says that the other end is closed
            pass
    os.close(ours)
    return shown.decode()


def test_a_real_terminal_shows_a_bar_and_a_panel_and_no_color_is_heeded():
    words = ["eval.rollout", "--model", "zero", *FEW, "--output"]
    shown = on_a_terminal(*words, "a")
    assert re.search(r"3/3 \[.*success 0/3 0 % \[0, 56\] at 95%", shown)
    assert "\x1b[1msuccess once" in shown
    assert "\x1b[1m" not in on_a_terminal(*words, "b", NO_COLOR="1")
    assert "\x1b" in on_a_terminal("eval.rollout", "--help")
    assert "\x1b" not in on_a_terminal("eval.rollout", "--help", NO_COLOR="1")


def test_help_breaks_lines_where_the_terminal_ends_and_nowhere_else():
    """No line of a flag's help has room for the first word of the next line."""
    shown = on_a_terminal("eval.rollout", "--help", NO_COLOR="1")
    block = re.search(r"--detect PP (.*?)--until-width", shown, re.DOTALL)[1]
    lines = [line.strip("│ \r") for line in block.split("\n")][:-1]
    assert len(lines) > 2
    for line, following in pairwise(lines):
        assert len(line) + 1 + len(following.split()[0]) > 110 - len("│ --detect PP          │") - 4
