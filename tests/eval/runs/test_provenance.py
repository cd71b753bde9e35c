"""What a record says of the sources that it was made with."""

import subprocess
from pathlib import Path

import pytest

from eval import provenance


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A git checkout with two files that stands for the project's."""

    def git(*arguments):
        identity = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    for name in ("a.py", "kept/ledger.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "eval" / "provenance.py"))
    return tmp_path


def is_dirty():
    return provenance.source_state(besides=Path("kept/ledger.jsonl"))["dirty"]


def test_what_is_being_written_does_not_make_the_sources_dirty(checkout):
    assert not is_dirty()
    (checkout / "kept" / "ledger.jsonl").write_text("{}")
    assert not is_dirty()
    assert provenance.source_state()["dirty"]


def test_any_other_change_makes_the_sources_dirty(checkout):
    (checkout / "a.py").write_text("pass")
    assert is_dirty()


def test_outside_a_checkout_there_is_nothing_to_say(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "eval" / "provenance.py"))
    assert provenance.source_state() is None
