"""The closing panel and warnings of a command, on a terminal and off it."""

import io
import re
from contextlib import redirect_stdout

import pytest

from eval.terminal.console import Console, rows_text

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
