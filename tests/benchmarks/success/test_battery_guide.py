"""What the guide shows of robustness.csv: a figure whose points lie where the rates are, and true tables."""

from xml.etree import ElementTree

import pytest

from benchmarks.success import battery_figure, battery_guide
from benchmarks.success.battery_figure import LOOKS, figure, read_curves
from benchmarks.tables import write_csv

PICK_PLACE = "SimScale/PickPlace-v0"
BLANK = {"wilson_low": 0.4, "wilson_high": 0.6, "n": 20, "errors": 0, "first_seed": 0, "commit": "", "command": ""}


def row(policy, axis, level, successes, expert=20):
    return {
        "policy": policy,
        "environment": PICK_PLACE,
        "axis": axis,
        "level": level,
        "magnitude": f"{10 * level} <unit>",
        "successes": successes,
        "expert": expert,
        **BLANK,
    }


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Writes rows as robustness.csv."""

    def write(rows):
        path = tmp_path / "robustness.csv"
        write_csv(path, rows)
        monkeypatch.setattr(battery_figure, "TABLE", path)

    return write


def test_the_figure_has_a_panel_for_each_axis_that_one_of_its_policies_ran(table):
    rows = [row(policy, "light", level, 20 - 10 * level) for policy in LOOKS for level in (0, 1, 2)]
    table([*rows, row("another policy", "alone", 0, 20)])
    drawn = ElementTree.fromstring(figure(read_curves(PICK_PLACE)))  # noqa: S314  our own text
    texts = [text for element in drawn.iter() if (text := (element.text or "").strip())]
    assert "light" in " ".join(texts)
    assert "alone" not in " ".join(texts)
    assert "<unit>" in " ".join(texts)
    places = [float(point.get("cy")) for point in drawn.iter() if point.tag.endswith("circle") and len(point)]
    assert len(places) == 3 * len(LOOKS)
    full, half, none = places[:3]  # of the first policy
    assert full < half < none
    assert half == pytest.approx((full + none) / 2)


def test_the_tables_hold_the_successes_of_the_csv(table, monkeypatch):
    chosen = battery_guide.Table("Some", {"one": PICK_PLACE, "two": PICK_PLACE}, (1, 2))
    monkeypatch.setattr(battery_guide, "TABLES", (chosen,))
    one = [row("one", "mass", level, 20 - level) for level in (0, 1, 2)]
    two = [row("two", "late", level, 20 - 2 * level, expert=20 - 5 * level) for level in (0, 1, 2)]
    table([*one, *two])
    lines = battery_guide.tables().splitlines()
    assert lines[0] == "| Some; levels 1 / 2 | `one` | `two` |"
    assert lines[2] == "| `mass` 10 / 20 <unit> | 19 / 18 of 20 |  |"
    assert lines[3] == "| `late` 10 / 20 <unit> |  | 18 / 16 of 20 (expert 15 / 10) |"


def test_the_guide_holds_the_tables_and_the_figure_of_the_csv():
    """If this fails, run `python -m benchmarks.success.battery_guide`."""
    guide = battery_guide.GUIDE.read_text(encoding="utf-8")
    assert battery_guide.with_tables(guide, battery_guide.tables()) == guide
    assert battery_guide.FIGURE.read_text(encoding="utf-8") == figure(read_curves(PICK_PLACE))
    assert battery_guide.FIGURE.stat().st_size < 200_000


def test_what_stands_around_the_tables_stays():
    text = f"before\n{battery_guide.BEGIN}old\n{battery_guide.END}after\n"
    assert battery_guide.with_tables(text, "new\n") == text.replace("old\n", "\nnew\n")
    with pytest.raises(SystemExit, match="expected the marks"):
        battery_guide.with_tables("no marks", "new")
