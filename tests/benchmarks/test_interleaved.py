"""The comparison of two checkouts: the interval covers, and a ratio below 1 is faster whatever the unit."""

import numpy as np
import pytest

from benchmarks import interleaved
from benchmarks.run import table


@pytest.mark.parametrize(
    ("n", "lowest"), [(6, 1), (8, 1), (9, 2), (10, 2), (12, 3), (20, 6), (30, 10)]
)  # as tables of the sign test have it
def test_the_interval_is_that_of_the_sign_test(n, lowest):
    assert interleaved.median_interval(range(n, 0, -1)) == (lowest, n + 1 - lowest)


def test_too_few_pairs_have_no_interval():
    assert interleaved.median_interval(range(5)) is None


def test_the_interval_covers_the_median():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        low, high = interleaved.median_interval(rng.lognormal(size=10).tolist())
        inside += low <= 1.0 <= high
    assert 0.95 <= inside / 2000 <= 0.99


def test_below_one_is_faster_in_every_unit_of_the_table():
    units = {row.unit for row in table(quick=True)}
    assert units == {"µs", "ms", "s", "share", "simulated s/s", "steps/s", "stored steps/s", "images/s", "times ours"}
    for unit in units:
        slower, faster = (100, 200) if unit.endswith("/s") or unit == "times ours" else (200, 100)
        assert interleaved.cost_ratio(("row", unit), before=slower, after=faster) == 0.5


def test_every_checkout_measures_itself_with_its_own_code(tmp_path, capsys, monkeypatch):
    for name, cost in (("before", 4.0), ("after", 3.0)):
        (tmp_path / name / "benchmarks").mkdir(parents=True)
        (tmp_path / name / "benchmarks" / "__init__.py").touch()
        (tmp_path / name / "benchmarks" / "run.py").write_text(
            "from types import SimpleNamespace\n"
            f"def measure():\n    print('{name}', file=open({str(tmp_path / 'order')!r}, 'a'))\n    return {cost}\n"
            "def table(*, quick):\n"
            f"    rows = [SimpleNamespace(name='shared', unit='s', measure=measure)]\n"
            f"    return rows + [SimpleNamespace(name='only {name}', unit='s', measure=None)]\n"
        )
    words = ["interleaved", str(tmp_path / "before"), str(tmp_path / "after"), "--pairs", "4"]
    monkeypatch.setattr("sys.argv", words)
    interleaved.main()
    _, line = capsys.readouterr().out.splitlines()
    assert line.split() == ["shared", "0.750", "[needs", "6", "pairs]", "4", "3", "s"]
    measured = (tmp_path / "order").read_text().split()[::2]  # each process warms up first
    assert measured == ["before", "after", "after", "before", "before", "after", "after", "before"]
