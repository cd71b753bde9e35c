"""The guide to the view of all runs: its commands run, and the view shows what they made."""

import re

import pytest

from eval.view.__main__ import contents


@pytest.mark.slow
def test_the_runs_of_the_guide_are_shown(guide):
    pytest.importorskip("rerun", reason="pip install -e '.[rerun]'")
    page = guide("viewing")
    page.run()
    (command,) = page.blocks("")
    folder = re.fullmatch(r"python -m eval.view (\S+)\n", command)[1]
    rows = contents(page.folder / folder).index.rows()["runs"]
    assert [(row["path"], row["n"], row["rate"]) for row in rows] == [
        ("expert", 10, 1.0),
        ("random", 10, 0.0),
        ("recorded", 10, 1.0),
    ]
    assert len(list((page.folder / "runs/recorded/rerun").glob("*.rrd"))) == 2
