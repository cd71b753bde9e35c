"""Run folders of schema version 1 still open, compare with new ones, and can be resumed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from run_folders import episode, write_run

from eval.comparison.pairing import compare
from eval.episodes.results import ResultsError
from eval.runs.folder import check_same_run
from eval.runs.log_file import EPISODES_FILE, write_results
from eval.runs.reading import read_run
from eval.runs.receipts import read_receipts
from eval.runs.record import RunRecord
from simscaleai.contract import Needs

STATE = [{"name": "ee_position", "size": 3, "unit": "m", "frame": "world"}]
TRUTH = [{"name": "cube_position", "size": 3, "unit": "m", "frame": "world"}]
CONFIG = {"model": "vla", "checkpoint": None, "env": "pick-place", "intervene": [], "terminate_on_success": True}
SUMMARY = {
    "planned": 2,
    "episodes": 2,
    "successes": 1,
    "errors": 0,
    "success_rate": 0.5,
    "wilson_95": [0.1, 0.9],
    "at_least_95": 0.01,
    "rate_if_errors_succeeded": 0.5,
    "success_once": 1,
    "success_held": None,
    "mean_steps": 30.0,
    "failures": {"dropped": 1},
}
"""Of the first of the project's versions that wrote version 1; later ones added keys."""


def old_record():
    """Returns the JSON data of a record, as version 1 had it."""
    receipt = {"episode_index": 0, "seed": 0, "instruction": "go", "digest": "cd", "images": {}, "actions": [[0.5] * 4]}
    feature = {"name": "ee_position", "unit": "m", "frame": "world", "values": [0.1, 0.2, None]}
    return {
        "schema_version": 1,
        "config": CONFIG,
        "resolved": {"environment": "SimScale/PickPlace-v0", "num_envs": 2, "workers": 1, "episodes": 2},
        "source": {"commit": "0123", "dirty": False},
        "fingerprint": {"machine": "x86_64", "gl_renderer": "llvmpipe"},
        "checkpoint_digest": "5bce" * 16,
        "contract": {
            "environments": {"SimScale/PickPlace-v0": "ea6e", "SimScale/PickPlaceLanguage-v0": "7ee7"},
            "state": STATE,
            "environment_state": None,
            "cameras": ["front", "wrist"],
            "image_size": [96, 96],
            "render_profile": "67bb",
            "language": True,
            "action": "displacement",
            "control_hz": 20,
            "max_episode_steps": 150,
        },
        "timing": {"started": "2026-01-02T03:04:05+00:00", "seconds": 1.0},
        "receipts": [{**receipt, "state": [feature]}],
        "seed_overlap": {"seeds": [0], "trained_on": {"first": 0, "last": 9, "count": 10}, "is_certain": True},
        "sequential": None,
        "summary": SUMMARY,
    }


@pytest.fixture
def old_run(tmp_path):
    """Makes a run folder of version 1 with entries replaced."""

    def make(**changes):
        folder = tmp_path / "old"
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps(old_record() | changes))
        write_results(folder / EPISODES_FILE, [episode(0, 0, "+"), episode(1, 1, "-")])
        return folder

    return make


def test_an_old_run_opens(old_run):
    run = read_run(old_run())
    record = run.record
    assert (record.schema_version, run.is_complete, run.seeds) == (1, True, (0, 1))
    assert (record.policy.model, record.policy.identity) == ("vla", "5bce" * 16)
    assert record.policy.needs == Needs.from_json(old_record()["contract"])
    assert record.policy.needs.cameras == {"front": (96, 96), "wrist": (96, 96)}
    assert (record.environment.env_id, record.environment.digest) == ("SimScale/PickPlace-v0", "ea6e")
    assert record.environment.action.names == ("delta_x", "delta_y", "delta_z", "gripper")
    assert (run.conditions.max_episode_steps, run.conditions.terminates_on_success) == (150, True)
    assert record.summary.interval[:2] == (0.1, 0.9)
    assert record.seed_overlap.trained_on.last == 9


def test_the_receipts_in_an_old_record_are_reachable(old_run):
    (receipt,) = read_receipts(old_run())
    assert receipt.vectors["state"][0].values == [0.1, 0.2, None]
    assert receipt.actions == [[0.5] * 4]


def test_the_findings_of_an_old_sequential_run_open(old_run):
    rule = {"rule": "until_decided", "threshold": 0.05, "limit": 9, "episodes": 2, "decided": True, "saved": 7}
    found = {
        "verdict": "better",
        "pairs": {"both": 0, "only_a": 0, "only_b": 2, "neither": 0},
        "difference": 1.0,
        "difference_sequence_95": [0.1, 1.0],
        "inverse_e_value": 0.04,
    }
    vs = {"folder": "runs/a", "episodes_sha256": "ab"}
    run = read_run(old_run(sequential={**rule, "vs": vs, **found}))
    assert run.record.sequential.findings.verdict == "better"
    assert (run.planned, run.is_complete) == (2, True)


def test_an_old_run_is_written_as_a_new_one(old_run, tmp_path):
    record = RunRecord.read(old_run())
    (tmp_path / "new").mkdir()
    record.write(tmp_path / "new")
    assert RunRecord.read(tmp_path / "new") == replace(record, schema_version=2)


def test_old_and_new_runs_are_compared(old_run, tmp_path):
    old = read_run(old_run())
    new = read_run(write_run(tmp_path / "new", "++"))
    assert compare(old, new).counts == (1, 0, 1, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"contract": "x"},
        {"contract": {}},
        {"config": None},
        {"resolved": {}},
        {"surprise": 1},
        {"sequential": 3},
        {"timing": {"seconds": float("inf")}},
    ],
)
def test_a_damaged_old_run_is_one_line(old_run, changes):
    folder = old_run(**changes)
    with pytest.raises(ResultsError, match=r"old/run\.json") as error:
        read_run(folder)
    assert "\n" not in str(error.value)


def resumed(old, **changes):
    """Returns the record with which the present version would go on."""
    config = {**CONFIG, "policy_option": [], "output": "elsewhere"}
    policy = replace(old.policy, options={"n_action_steps": 8}, needs=old.environment.needs("state"))
    return replace(old, schema_version=2, config=config, policies=(policy,), **changes)


def test_an_old_run_is_resumed_if_all_that_it_recorded_is_the_same(old_run):
    old = RunRecord.read(old_run())
    spec = replace(old.environment, success="the cube is at the goal", film_cameras=("front",))
    check_same_run(Path("old"), old, resumed(old, environment=spec))


def test_other_conditions_than_those_of_an_old_run_are_named(old_run):
    old = RunRecord.read(old_run())
    new = resumed(old, environment=replace(old.environment, digest="77"), fingerprint={"machine": "arm64"})
    new = replace(new, policies=(replace(new.policy, identity="0" * 64),))
    with pytest.raises(ResultsError, match="cannot resume old") as error:
        check_same_run(Path("old"), old, new)
    lines = str(error.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == [
        "fingerprint.machine",
        "fingerprint.gl_renderer",
        "environment.digest",
        "policies.0.identity",
    ]


def test_code_had_no_identity_in_version_1(old_run):
    old = RunRecord.read(old_run(checkpoint_digest=None))
    new = resumed(old)
    check_same_run(Path("old"), old, replace(new, policies=(replace(new.policy, identity="ab"),)))
