from pathlib import Path

import pytest

from eval.merge import main


@pytest.fixture
def refused(capsys):
    """Returns the message with which merging is refused; nothing may be left behind."""

    def message(*folders, output="whole"):
        before = sorted(Path().rglob("*"))
        assert main([*map(str, folders), "--output", output]) == 2
        assert sorted(Path().rglob("*")) == before
        text = capsys.readouterr().err
        assert "Traceback" not in text
        return text

    return message
