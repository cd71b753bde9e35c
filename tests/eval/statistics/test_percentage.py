import pytest

from eval.statistics.percentage import parse_points, points_text, rate_text


@pytest.mark.parametrize("text", ["5pp", "5 pp", "5%", "5 %", "0.05", ".05", " 5.0pp ", "5 percentage points"])
def test_one_value_in_many_ways(text):
    assert parse_points(text) == pytest.approx(0.05)


@pytest.mark.parametrize("text", ["5", "1", "0", "0pp", "-5pp", "100pp", "pp", "five", "", "nan", "infpp"])
def test_what_could_mean_something_else_is_refused(text):
    with pytest.raises(ValueError, match=r"such as 5pp or 5%, or a fraction such as 0\.05; got"):
        parse_points(text)


def test_text():
    assert points_text(0.0512) == "5.1"
    assert points_text(0.0512, sign=True) == "+5.1"
    assert points_text(-0.2, sign=True) == "-20.0"
    assert points_text(-1e-9, sign=True) == "+0.0"
    assert points_text(-0.0) == "0.0"


def test_a_rate_comes_with_its_count_and_its_interval():
    assert rate_text(9, 10, (0.596, 0.982)) == "9/10   90.0 %   95 % interval [59.6, 98.2]"
    assert rate_text(0, 0, (0.0, 1.0)) == "0/0   0.0 %   95 % interval [0.0, 100.0]"
