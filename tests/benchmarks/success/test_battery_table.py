"""The table of batteries: each row with its command."""

from benchmarks.success import battery_table
from eval import robustness


def test_a_row_says_what_was_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = "--model scripted --policy-option synchronous=true --env reach --axes robot.start --levels 2 --episodes 2"
    assert robustness.main([*words.split(), "--seed", "3000000000", "--quiet", "--output", "battery"]) == 0
    control, second = battery_table.rows(tmp_path / "battery")
    assert (second["policy"], second["axis"], second["level"]) == ("scripted synchronous=true", "robot.start", "2")
    assert (control["successes"], second["n"], second["magnitude"]) == (2, 2, "0.2 rad")
    for part in ("eval.robustness --", *words.split("--")[1:], "--seed 3000000000"):
        assert part.strip() in second["command"]
    assert "--output" not in second["command"]
