"""The closing panel and warnings of a command, on a terminal and off it."""

import io
import json
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from eval.terminal.console import Console, rows_text

ROOT = Path(__file__).resolve().parents[3]
ROWS = [("success", "1/1"), ("nothing", ""), ("record", "runs/x/run.json")]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def panel_on_a_terminal(monkeypatch):
    """Returns the panel as a terminal gets it, under environment variables."""

    def show(**variables):
        for name in ("NO_COLOR", "TERM"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with redirect_stdout(Terminal()) as stream:
            Console().conclude(ROWS, dict)
        return stream.getvalue()

    return show


def test_a_panel_is_plain_lines_where_there_is_no_terminal(capsys):
    Console().conclude(ROWS, dict)
    assert capsys.readouterr().out == "success              1/1\nrecord               runs/x/run.json\n"


def test_a_panel_on_a_terminal_follows_a_rule_and_texts_can_be_copied(panel_on_a_terminal):
    rule, headline, place = panel_on_a_terminal().splitlines()
    assert re.fullmatch("\x1b\\[2m─+\x1b\\[0m", rule)
    assert headline == "\x1b[1msuccess              1/1\x1b[0m"
    assert place.endswith(" runs/x/run.json")


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_escape_codes_for_who_wants_none(panel_on_a_terminal, name, value):
    rule, headline, place = panel_on_a_terminal(**{name: value}).splitlines()
    assert (set(rule), headline) == ({"─"}, "success              1/1")
    assert place == "record               runs/x/run.json"


def test_warnings_keep_out_of_what_scripts_read(capsys):
    for console in (Console(quiet=True), Console(json=True)):
        console.say("on the way")
        console.warn("careful")
        assert capsys.readouterr() == ("", "warning: careful\n")
    Console().warn("careful")
    assert capsys.readouterr() == ("warning: careful\n", "")


def test_json_is_printed_for_scripts_and_nothing_else(capsys):
    with Console(json=True) as console:
        console.say("on the way")
        console.conclude(ROWS, lambda: {"successes": 1, "instruction": "→"})
    assert capsys.readouterr().out == '{\n  "successes": 1,\n  "instruction": "→"\n}\n'


def test_a_quiet_command_concludes_nothing(capsys):
    Console(quiet=True).conclude(ROWS, dict)
    assert capsys.readouterr() == ("", "")


def test_rows_have_their_names_in_a_column():
    assert rows_text([("name", "text"), ("", "")]) == "name                 text\n"


EVIL = "\x1b[2J\x9b2J\x07\rerror: none\u202e"
"""Text of somebody else that would clear the screen, overwrite its line, and turn around what follows."""


@pytest.mark.parametrize("on_a_terminal", [False, True])
@pytest.mark.parametrize(
    "show",
    [
        lambda console: console.say(f"the model {EVIL}", f"two\n{EVIL} lines"),
        lambda console: console.warn(EVIL),
        lambda console: console.conclude([("success", "1/1"), (EVIL, EVIL)], dict),
        lambda console: print(rows_text([(EVIL, EVIL)])),
    ],
)
def test_no_text_of_others_sends_commands_to_the_terminal(monkeypatch, on_a_terminal, show):
    monkeypatch.setenv("NO_COLOR", "1")
    with redirect_stdout(Terminal() if on_a_terminal else io.StringIO()) as stream:
        show(Console())
    text = stream.getvalue()
    assert r"\x1b[2J\x9b2J\x07\rerror: none\u202e" in text
    assert all(character.isprintable() or character == "\n" for character in text)


def test_json_has_unprintable_characters_as_escapes(capsys):
    with Console(json=True) as console:
        console.conclude([], lambda: {"model": EVIL})
    text = capsys.readouterr().out
    assert json.loads(text) == {"model": EVIL}
    assert all(character.isprintable() or character == "\n" for character in text)


def test_json_comes_last_and_alone_whatever_else_is_printed(capsys):
    with Console(json=True) as console:
        print("a policy greets")
        console.conclude([], dict)
        print("a policy is closed")
    assert capsys.readouterr() == ("{}\n", "a policy greets\na policy is closed\n")


def test_json_of_an_interrupted_command_is_printed(capsys):
    def interrupted():
        with Console(json=True) as console:
            console.conclude([], dict)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert capsys.readouterr().out == "{}\n"


def test_what_libraries_in_c_have_buffered_stays_out_of_the_json():
    code = (
        "import ctypes, sys\nfrom eval.terminal.console import Console\n"
        "with Console(json=True) as console:\n"
        "    ctypes.CDLL(None).printf(b'buffered ')\n"
        "    console.conclude([], dict)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("{}\n", "buffered ")
