import json
from dataclasses import replace

import pytest

from eval.results import (
    EpisodeResult,
    ResultsError,
    RunRecord,
    append_result,
    read_results,
    write_results,
)

RESULT = EpisodeResult(
    episode_index=0,
    seed=7,
    instruction="pick up the blue cube",
    target="blue",
    status="failure",
    success_once=True,
    success_held=None,
    success_at_end=None,
    steps=12,
    return_=0.1 + 0.2,
    stage="lifted",
    failure="dropped",
    digest="ab" * 32,
)


def results(*indices):
    return [replace(RESULT, episode_index=index) for index in indices]


def test_a_line_has_exactly_the_documented_keys(tmp_path):
    append_result(tmp_path / "episodes.jsonl", RESULT)
    keys = (
        "episode_index seed instruction target status success_once success_held success_at_end steps return stage "
        "failure digest"
    )
    assert list(json.loads((tmp_path / "episodes.jsonl").read_text())) == keys.split()


def test_appended_results_come_back_equal_and_sorted(tmp_path):
    path = tmp_path / "episodes.jsonl"
    for result in results(2, 0, 1):
        append_result(path, result)
    assert read_results(path) == results(0, 1, 2)


def test_rewriting_sorts_the_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "episodes.jsonl"
    write_results(path, results(2, 0, 1))
    assert [json.loads(line)["episode_index"] for line in path.read_text().splitlines()] == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("cut", [1, 10, 200])
def test_a_torn_last_line_is_an_unfinished_episode(tmp_path, cut):
    path = tmp_path / "episodes.jsonl"
    write_results(path, results(0, 1))
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_results(path) == results(0)


@pytest.mark.parametrize("line", ["nonsense", '{"seed": 3}', json.dumps(RESULT.to_json() | {"more": 1})])
def test_any_other_unreadable_line_is_named(tmp_path, line):
    path = tmp_path / "episodes.jsonl"
    write_results(path, results(0))
    path.write_text(line + "\n" + path.read_text())
    with pytest.raises(ResultsError, match=r"episodes\.jsonl, line 1"):
        read_results(path)


def test_record_comes_back_equal_and_other_versions_are_refused(tmp_path):
    record = RunRecord(
        config={"model": "zero"},
        resolved={},
        source=None,
        fingerprint={},
        checkpoint_digest=None,
        contract={},
        timing={},
    )
    path = record.write(tmp_path)
    assert RunRecord.read(tmp_path) == record
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 0'))
    with pytest.raises(ResultsError, match="schema version 0, expected 1"):
        RunRecord.read(tmp_path)
    with pytest.raises(ResultsError, match=r"run\.json"):
        RunRecord.read(tmp_path / "elsewhere")
