"""JSON data that somebody else may have written: parsed and read into dataclasses, or refused in one line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from simscaleai.errors import SimScaleError
from simscaleai.json_data import MAX_DEPTH, is_of_type, parse_json, read_checked


@dataclass(frozen=True)
class Point:
    x: float
    unit: Literal["m", "mm"] = "m"


@dataclass(frozen=True)
class Drawing:
    name: str
    origin: Point | None
    points: tuple[Point, ...] = ()
    size: tuple[int, int] = (1, 1)
    layers: Mapping[str, Point] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


DATA = {
    "name": "a",
    "origin": None,
    "points": [{"x": 1}, {"x": 2.5, "unit": "mm"}],
    "size": [2, 3],
    "layers": {"top": {"x": 0.0}},
    "notes": {"any": [1, None, {}]},
}


def test_data_becomes_dataclasses_all_the_way_down():
    drawing = read_checked(Drawing, DATA)
    assert drawing.points == (Point(1), Point(2.5, "mm"))
    assert (drawing.size, drawing.layers, drawing.notes) == ((2, 3), {"top": Point(0.0)}, {"any": [1, None, {}]})


def test_entries_with_a_default_may_be_missing():
    assert read_checked(Drawing, {"name": "a", "origin": {"x": 3}}) == Drawing("a", Point(3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": 3}, "expected name of type str, got 3"),
        ({"name": None}, "expected name of type str, got null"),
        ({"origin": {}}, "expected origin.x of type float, got none"),
        ({"origin": "x"}, 'expected origin with named entries, got "x"'),
        ({"points": [{"x": 1}, {"x": True}]}, "expected points.x of type float, got true"),
        ({"points": {"x": 1}}, "expected points of type tuple"),
        ({"points": [{"x": 1, "unit": "km"}]}, "expected points.unit of type Literal['m', 'mm'], got \"km\""),
        ({"size": [1, 2, 3]}, "expected size of type tuple[int, int], got [1, 2, 3]"),
        ({"layers": {"top": 1}}, "expected layers.top with named entries, got 1"),
        ({"more": 1}, "unknown entry more, which a newer version may have written"),
    ],
)
def test_the_first_wrong_entry_is_named(changes, message):
    with pytest.raises(SimScaleError) as error:
        read_checked(Drawing, DATA | changes)
    assert str(error.value).startswith(message)


def test_where_the_data_stands_is_told():
    with pytest.raises(SimScaleError, match=r"expected drawing\.name of type str"):
        read_checked(Drawing, DATA | {"name": 3}, "drawing")


@pytest.mark.parametrize("text", ["NaN", "[-Infinity]", '{"x": 1e999}'])
def test_numbers_that_are_not_finite_are_refused(text):
    with pytest.raises(ValueError, match="expected finite numbers"):
        parse_json(text)


@pytest.mark.parametrize("text", ["{", "", b"\xff"])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ValueError, match=r"Expecting|decode"):
        parse_json(text)


def test_numbers_come_back_to_the_last_bit():
    assert parse_json("[0.1, 1e-300, 3]") == [0.1, 1e-300, 3]


@pytest.mark.parametrize("value", [10**400, float("nan"), float("inf"), True, "1"])
def test_only_finite_numbers_are_numbers(value):
    assert not is_of_type(value, float)
    assert is_of_type(10**300, float)


def test_nesting_has_a_bound_well_below_what_python_gives_up_at():
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    for text in ("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), '{"a":' * 600 + "1" + "}" * 600):
        with pytest.raises(ValueError, match="at most 100 levels"):
            parse_json(text)
