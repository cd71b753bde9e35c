"""The file of episodes: what a line holds, what a killed run leaves, what is refused."""

import json
from dataclasses import replace

import pytest

from eval.episodes.results import EpisodeResult, ResultsError
from eval.runs.log_file import EpisodesReader, append_result, episodes_digest, read_results, write_results

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


def test_a_nominal_line_has_exactly_the_documented_keys(tmp_path):
    append_result(tmp_path / "episodes.jsonl", RESULT)
    keys = (
        "episode_index seed instruction target status success_once success_held success_at_end steps return stage "
        "failure digest"
    )
    assert list(json.loads((tmp_path / "episodes.jsonl").read_text())) == keys.split()


def test_optional_keys_stand_only_where_they_are_not_nominal(tmp_path):
    perturbed = replace(RESULT, task="spatial", arm="light", perturbation={"light": 0.6})
    append_result(tmp_path / "episodes.jsonl", perturbed)
    line = json.loads((tmp_path / "episodes.jsonl").read_text())
    assert list(line)[-3:] == ["task", "arm", "perturbation"]
    assert read_results(tmp_path / "episodes.jsonl") == [perturbed]


def test_appended_results_come_back_equal_and_sorted(tmp_path):
    path = tmp_path / "episodes.jsonl"
    for result in results(2, 0, 1):
        append_result(path, result)
    assert read_results(path) == results(0, 1, 2)


def test_instructions_in_any_script_come_back(tmp_path):
    path = tmp_path / "episodes.jsonl"
    told = [replace(RESULT, instruction="把方块放到目标上 \udcff")]
    write_results(path, told)
    assert read_results(path) == told
    assert "把方块" in path.read_text()


def test_rewriting_sorts_the_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "episodes.jsonl"
    write_results(path, results(2, 0, 1))
    assert [json.loads(line)["episode_index"] for line in path.read_text().splitlines()] == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_without_the_file_has_no_episodes(tmp_path):
    assert read_results(tmp_path / "episodes.jsonl") == []


@pytest.mark.parametrize("cut", [1, 10, 200])
def test_a_torn_last_line_is_an_unfinished_episode(tmp_path, cut):
    path = tmp_path / "episodes.jsonl"
    write_results(path, results(0, 1))
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_results(path) == results(0)


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        '{"seed": 3}',
        json.dumps(RESULT.to_json() | {"more": 1}),
        json.dumps(RESULT.to_json() | {"return": float("nan")}),
        json.dumps(RESULT.to_json()).replace("0.30000000000000004", "1e999"),
        *(
            json.dumps(RESULT.to_json() | {name: number})
            for name in ("episode_index", "seed", "steps", "return")
            for number in (10**400, -(10**400))
        ),
    ],
)
def test_any_other_unreadable_line_is_named(tmp_path, line):
    path = tmp_path / "episodes.jsonl"
    write_results(path, results(0))
    path.write_text(line + "\n" + path.read_text())
    with pytest.raises(ResultsError, match=r"episodes\.jsonl, line 1"):
        read_results(path)


def test_an_episode_that_comes_twice_is_refused(tmp_path):
    """Its index identifies it: two lines for one episode are two answers."""
    path = tmp_path / "episodes.jsonl"
    for result in results(0, 1, 0):
        append_result(path, result)
    with pytest.raises(ResultsError, match=r"episodes\.jsonl, line 3, repeats episode 0"):
        read_results(path)


def test_seeds_may_come_twice(tmp_path):
    path = tmp_path / "episodes.jsonl"
    write_results(path, results(0, 1))
    assert [result.seed for result in read_results(path)] == [7, 7]


def test_the_digest_tells_other_episodes_apart(tmp_path):
    write_results(tmp_path / "episodes.jsonl", results(0, 1))
    digest = episodes_digest(tmp_path)
    write_results(tmp_path / "episodes.jsonl", results(1, 0))
    assert episodes_digest(tmp_path) == digest
    write_results(tmp_path / "episodes.jsonl", results(0))
    assert episodes_digest(tmp_path) != digest


@pytest.fixture
def log(tmp_path):
    """A file with the episodes 0 and 1, and a reader that has read them."""
    path = tmp_path / "episodes.jsonl"
    write_results(path, results(0, 1))
    reader = EpisodesReader(path)
    assert reader.results() == results(0, 1)
    return path, reader


def test_of_a_file_that_grows_only_new_lines_are_read(log):
    path, reader = log
    with path.open("r+b") as file:
        file.write(b"damage that nobody reads")
    append_result(path, results(2)[0])
    assert reader.results() == results(0, 1, 2)
    with path.open("r+b") as file:
        assert file.read(6) == b"damage"


def test_a_line_counts_once_it_is_complete(log):
    path, reader = log
    append_result(path, results(2)[0])
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert reader.results() == results(0, 1)
    with path.open("ab") as file:
        file.write(whole[-7:])
    assert reader.results() == results(0, 1, 2)


@pytest.mark.parametrize("indices", [(0,), (1, 2), (5, 6, 7, 8), ()])
def test_a_file_that_was_replaced_or_cut_off_is_read_anew(log, indices):
    path, reader = log
    path.write_bytes(b"".join(json.dumps(result.to_json()).encode() + b"\n" for result in results(*indices)))
    assert reader.results() == results(*indices)
    write_results(path, results(3, *indices))  # a new file of the same name
    assert reader.results() == sorted(results(3, *indices), key=lambda result: result.episode_index)
    path.unlink()
    assert reader.results() == []


def test_a_new_line_that_cannot_be_read_is_named_until_it_is_gone(log):
    path, reader = log
    good = path.read_bytes()
    for index in (2, 1):
        append_result(path, results(index)[0])
    for _ in range(2):
        with pytest.raises(ResultsError, match=r"episodes\.jsonl, line 4, repeats episode 1"):
            reader.results()
    path.write_bytes(good)
    assert reader.results() == results(0, 1)
