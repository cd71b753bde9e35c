"""A run folder that is read: what follows from record and episodes."""

import json
from dataclasses import replace

import pytest
from run_folders import RECORD, SPEC, episode, stopped, write_run

from eval.episodes.results import ResultsError
from eval.runs.reading import EpisodeConditions, read_run


def test_what_a_complete_run_holds(tmp_path):
    run = read_run(write_run(tmp_path / "a", "+-E", first_seed=7))
    assert run.seeds == (7, 8, 9)
    assert run.success_by_seed == {7: True, 8: False, 9: False}
    assert run.successes == 1
    assert run.seeds_text == "3 episodes, seeds 7 to 9"
    assert (run.planned, run.is_complete, run.interventions) == (3, True, ())
    assert run.conditions == EpisodeConditions("SimScale/PickPlace-v0", "ea6e", True, 150)


def test_a_run_without_episodes_is_not_complete(tmp_path):
    run = read_run(write_run(tmp_path / "a", ""))
    assert (run.is_complete, run.seeds_text) == (False, "no episode")


def test_a_run_without_a_summary_is_not_complete(tmp_path):
    assert not read_run(write_run(tmp_path / "a", "++", record=replace(RECORD, summary=None))).is_complete


@pytest.mark.parametrize(("decided", "planned"), [(True, 2), (False, 90)])
def test_a_rule_that_held_shortens_the_plan(tmp_path, decided, planned):
    record = replace(RECORD, sequential=stopped(2, limit=90, decided=decided))
    run = read_run(write_run(tmp_path / "a", "++", record=record, planned=90))
    assert (run.planned, run.is_complete) == (planned, decided)


def test_each_difference_of_conditions_names_both_sides():
    a = EpisodeConditions.of(SPEC, terminates_on_success=True)
    b = EpisodeConditions.of(replace(SPEC, max_episode_steps=9), terminates_on_success=False)
    assert list(a.differences(b)) == [
        "success ends the episode: A has True, B has False",
        "max episode steps: A has 150, B has 9",
    ]
    assert list(a.differences(a)) == []


DAMAGED = {
    "no record": ("run.json", None),
    "broken record": ("run.json", "{"),
    "broken line": ("episodes.jsonl", "{\n"),
    "list for an episode": ("episodes.jsonl", "[1]\n"),
    "text for steps": ("episodes.jsonl", json.dumps(episode(0, 0, "+").to_json() | {"steps": "many"}) + "\n"),
    "unknown status": ("episodes.jsonl", json.dumps(episode(0, 0, "+").to_json() | {"status": "splendid"}) + "\n"),
    "negative seed": ("episodes.jsonl", json.dumps(episode(0, -1, "+").to_json()) + "\n"),
    "too deep": ("episodes.jsonl", "[" * 100_000 + "\n"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_folder_is_one_line_that_names_the_file(tmp_path, name):
    file, content = DAMAGED[name]
    folder = write_run(tmp_path / "a", "+-")
    (folder / file).unlink(missing_ok=True)
    if content is not None:
        (folder / file).write_text(content)
    with pytest.raises(ResultsError) as error:
        read_run(folder)
    assert file in str(error.value)
    assert "\n" not in str(error.value)
