"""What a record says about the machine and the sources that it was made with."""

import json
import platform
import subprocess
from pathlib import Path

import numpy as np
import pytest

from eval.runs.provenance import Source, fingerprint, source_state


@pytest.fixture
def checkout(tmp_path):
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
    return tmp_path


def is_dirty(checkout):
    return source_state(checkout, besides=Path("kept/ledger.jsonl")).dirty


def test_what_is_being_written_does_not_make_the_sources_dirty(checkout):
    assert not is_dirty(checkout)
    (checkout / "kept" / "ledger.jsonl").write_text("{}")
    assert not is_dirty(checkout)
    assert source_state(checkout).dirty


def test_any_other_change_makes_the_sources_dirty(checkout):
    (checkout / "a.py").write_text("pass")
    assert is_dirty(checkout)


def test_the_commit_is_named(checkout):
    head = subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert source_state(checkout) == Source(commit=head.stdout.strip(), dirty=False)


def test_outside_a_checkout_there_is_nothing_to_say(tmp_path):
    assert source_state(tmp_path) is None


def test_a_folder_within_another_checkout_is_no_checkout_of_its_own(checkout):
    assert source_state(checkout / "kept") is None


def test_the_fingerprint_names_machine_and_libraries():
    found = fingerprint({})
    assert found["machine"] == platform.machine()
    assert found["libraries"]["numpy"] == np.__version__
    assert found["gl_renderer"] is None
    assert json.loads(json.dumps(found)) == found


def test_the_fingerprint_holds_what_the_simulator_adds():
    found = fingerprint({"gl_renderer": "llvmpipe", "libraries": {"robosuite": "1.5"}})
    assert found["gl_renderer"] == "llvmpipe"
    assert found["libraries"] == fingerprint({})["libraries"] | {"robosuite": "1.5"}
