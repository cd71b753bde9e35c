"""The record of a run: written and read back, and refused in one line if it is damaged."""

import json
import os
from dataclasses import replace
from math import inf

import pytest
from run_folders import RECORD, changed, stopped

from eval.episodes.results import ResultsError
from eval.runs.provenance import Source
from eval.runs.record import RunRecord, Timing
from eval.runs.schema.conditions import PolicyRecord
from eval.runs.schema.seeds import SeedOverlap, SeedRange
from eval.runs.schema.stopping import Findings, Reference

FULL = replace(
    RECORD,
    policies=(*RECORD.policies, PolicyRecord(model="expert", options={"speed": 1.5}, needs=RECORD.environment.needs())),
    source=Source(commit="0123", dirty=True),
    timing=Timing(started="2026-01-02T03:04:05+00:00", seconds=1.5, episodes_per_second=2.0, steps_per_second=60.0),
    interventions={"vision=black": "all images are black"},
    seed_overlap=SeedOverlap(seeds=(3, 4), trained_on=SeedRange(first=0, last=9, count=10), is_certain=True),
    sequential=stopped(
        3,
        rule="until_decided",
        vs=Reference(folder="runs/a", episodes_sha256="ab"),
        findings=Findings(
            verdict="better",
            pairs={"both": 0, "only_a": 0, "only_b": 3, "neither": 0},
            difference=1.0,
            difference_sequence_95=(0.1, 1.0),
            inverse_e_value=0.5,
        ),
    ),
)
"""A record with everything in it."""


def damage(folder, **changes):
    """Writes the full record with entries replaced."""
    (folder / "run.json").write_text(json.dumps(FULL.to_json() | changes))


@pytest.mark.parametrize("record", [RECORD, FULL, replace(RECORD, summary=None)])
def test_a_record_comes_back_equal(tmp_path, record):
    assert record.write(tmp_path) == tmp_path / "run.json"
    assert RunRecord.read(tmp_path) == record
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_the_evaluated_policy_is_the_first():
    assert FULL.policy.model == "bc"


def test_unbounded_actions_are_recorded_with_the_largest_number(tmp_path):
    """JSON has no infinity, and other readers than Python's refuse it."""
    action = replace(RECORD.environment.action, low=(-inf, -1.0), high=(inf, 1.0))
    changed(environment={"action": action}).write(tmp_path)
    assert RunRecord.read(tmp_path).environment.action.high[0] > 1e308


def test_a_path_that_is_no_utf_8_comes_back(tmp_path):
    record = changed(config={"output": os.fsdecode(b"runs/\xff")})
    record.write(tmp_path)
    assert os.fsencode(RunRecord.read(tmp_path).config["output"]) == b"runs/\xff"


@pytest.mark.parametrize("version", [0, 3, None, "2"])
def test_other_versions_are_refused(tmp_path, version):
    damage(tmp_path, schema_version=version)
    with pytest.raises(ResultsError, match=rf"schema version {version}, expected at most 2"):
        RunRecord.read(tmp_path)


def test_a_folder_without_a_record_is_named(tmp_path):
    with pytest.raises(ResultsError, match=r"expected a run folder with run\.json, got .*elsewhere"):
        RunRecord.read(tmp_path / "elsewhere")


DAMAGED = {
    "surprise": ({"surprise": 1}, "unknown entry surprise"),
    "no model": ({"policies": [{"needs": FULL.policy.needs.to_json()}]}, r"policies\.model of type str, got none"),
    "number for a model": (
        {"policies": [{"model": 3, "needs": FULL.policy.needs.to_json()}]},
        r"policies\.model of type str, got 3",
    ),
    "no policy": ({"policies": []}, "at least 1 entry in policies, got none"),
    "text for needs": ({"policies": [{"model": "bc", "needs": "x"}]}, r"policies\.needs with named entries"),
    "no environment": ({"environment": None}, "environment with named entries, got null"),
    "text for a list": ({"config": {"env": "reach", "intervene": "x"}}, r"config\.intervene of type tuple"),
    "no env": ({"config": {}}, r"config\.env of type str, got none"),
    "negative plan": ({"resolved": FULL.to_json()["resolved"] | {"episodes": -1}}, "at least 0 planned episodes"),
    "bad sequential": ({"sequential": {"rule": "until_width"}}, r"sequential\.threshold of type float, got none"),
    "bad overlap": (
        {"seed_overlap": {"seeds": [1], "trained_on": {"first": 1}, "is_certain": True}},
        r"seed_overlap\.trained_on\.last of type int, got none",
    ),
    "overlap of none": ({"seed_overlap": FULL.to_json()["seed_overlap"] | {"seeds": []}}, "at least 1 seed"),
    "three ends": ({"summary": FULL.to_json()["summary"] | {"wilson_95": [0, 0.5, 1]}}, r"summary\.wilson_95"),
    "truth for a number": ({"timing": {"seconds": True}}, r"timing\.seconds of type float, got true"),
    "not finite": ({"timing": {"seconds": float("nan")}}, "finite"),
    "huge": ({"timing": {"seconds": 10**400}}, r"timing\.seconds of type float"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_entry_is_named_in_one_line(tmp_path, name):
    changes, message = DAMAGED[name]
    damage(tmp_path, **changes)
    with pytest.raises(ResultsError, match=message) as error:
        RunRecord.read(tmp_path)
    assert "run.json" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe\0", b"[" * 100_000, b"{"])
def test_what_is_no_object_is_refused(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(ResultsError, match=r"run\.json"):
        RunRecord.read(tmp_path)
