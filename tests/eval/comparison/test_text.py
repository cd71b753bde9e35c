"""What a run with a stopping rule says, and what its record keeps of the comparison with its reference."""

from dataclasses import replace

from run_folders import RECORD, stopped, write_run

from eval.comparison.as_json import findings_of
from eval.comparison.pairing import compare
from eval.comparison.text import sequential_rows
from eval.runs.reading import read_run
from eval.runs.schema.stopping import Reference
from eval.runs.summary import summarise
from eval.statistics.sequential import confidence_sequence


def run(folder, outcomes, **rule):
    record = replace(RECORD, sequential=stopped(len(outcomes), **rule)) if rule else RECORD
    return read_run(write_run(folder, outcomes, record=record, planned=100 if rule else None))


def rows(run, comparison=None):
    summary = summarise(run.results, len(run.results), sequential=True)
    return list(sequential_rows(run.record.sequential, summary, comparison))


def test_a_run_until_a_width_says_how_wide_its_interval_is(tmp_path):
    ((name, text),) = rows(run(tmp_path / "a", "++--", threshold=0.95))
    low, high, _ = confidence_sequence(2, 4)
    width = f"interval {100 * (high - low):.1f} pp wide, 95.0 pp wanted"
    assert (name, text) == ("stopping", f"{width}; the run ended after 4 of at most 100 episodes; 96 saved")


def test_a_run_that_reached_its_limit_says_that_it_is_undecided(tmp_path):
    ((_, text),) = rows(run(tmp_path / "a", "++--", decided=False))
    assert text.endswith("the run was still undecided after 4 of at most 100 episodes")


def test_a_run_until_decided_says_what_it_found(tmp_path):
    a = run(tmp_path / "a", "-" * 100)
    b = run(tmp_path / "b", "+" * 9, threshold=0.05, vs=Reference(folder="runs/a", episodes_sha256="ab"))
    comparison = compare(a, b)
    found = dict(rows(b, comparison))
    assert found["stopping"].startswith("at level 0.05 against runs/a (A); the run ended after 9")
    assert found["verdict"] == "B is better than A"
    assert "undecided" not in found
    kept = findings_of(comparison)
    assert (kept.verdict, kept.difference, kept.pairs["only_b"]) == ("better", 1.0, 9)
    assert kept.difference_sequence_95 == comparison.interval[:2]
    assert kept.inverse_e_value < 0.05


def test_that_equality_is_not_shown_is_said(tmp_path):
    vs = Reference(folder="runs/a", episodes_sha256="ab")
    a, b = run(tmp_path / "a", "+-" * 50), run(tmp_path / "b", "+--", threshold=0.05, vs=vs)
    found = dict(rows(b, compare(a, b)))
    assert found["undecided"] == "3 episodes did not suffice; this does not show that the policies are equal"
