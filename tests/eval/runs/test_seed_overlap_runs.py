"""A run on seeds that the policy was trained on: said before, after, and in the record."""

from pathlib import Path

import pytest

from eval import rollout
from eval.runs.record import RunRecord
from eval.runs.schema.seeds import SeedOverlap, SeedRange

FIRST = 3_000_000_100


@pytest.fixture
def run_bc(make_checkpoint, tmp_path, monkeypatch, capsys):
    """Runs a policy that was trained on two seeds; returns what was printed."""
    monkeypatch.chdir(tmp_path)
    checkpoint = make_checkpoint("bc", {"seeds": {"first": FIRST, "last": FIRST + 1, "count": 2}})

    def run(*seeds):
        flags = ["--model", str(checkpoint), "--env", "reach", "--output", "run", "--seeds"]
        assert rollout.main([*flags, *map(str, seeds)]) == 0
        return capsys.readouterr().out.splitlines()

    return run


def test_a_run_on_trained_seeds_is_warned_of_before_and_after_and_recorded(run_bc):
    out = run_bc(FIRST + 1, FIRST + 2)
    text = (
        f"1 of 2 episodes, seed {FIRST + 1}, are in the range of seeds that the checkpoint was trained on, {FIRST} to "
        f"{FIRST + 1}: this is no test on new scenes"
    )
    headline = next(index for index, line in enumerate(out) if line.startswith("success once"))
    assert f"warning: {text}" in out[:headline]
    assert f"{'warning':<20} {text}" in out[headline:]
    trained_on = SeedRange(first=FIRST, last=FIRST + 1, count=2)
    expected = SeedOverlap(seeds=(FIRST + 1,), trained_on=trained_on, is_certain=True)
    assert RunRecord.read(Path("run")).seed_overlap == expected


def test_a_run_on_other_seeds_is_not(run_bc):
    assert not [line for line in run_bc(FIRST + 2) if "warning" in line]
    assert RunRecord.read(Path("run")).seed_overlap is None
