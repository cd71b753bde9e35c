"""The speed table: one row can be measured anew, and the others stay."""

import sys

from benchmarks import run
from benchmarks.tables import read_csv


def test_rows_that_are_not_measured_stay_in_the_table(tmp_path, monkeypatch):
    figures = {"drawing": 1.0, "physics": 2.0}
    rows = [run.Row(name=name, unit="s", target="", measure=lambda name=name: figures[name]) for name in figures]
    monkeypatch.setattr(run, "table", lambda quick: rows)
    path = tmp_path / "speed.csv"

    def medians(*arguments):
        monkeypatch.setattr(sys, "argv", ["run", "--quick", "--output", str(path), *arguments])
        run.main()
        return {line["what"]: float(line["median"]) for line in read_csv(path)}

    assert medians() == {"drawing": 1, "physics": 2}
    figures |= {"drawing": 3.0, "physics": 4.0}
    assert medians("--only", "draw") == {"drawing": 3, "physics": 2}
