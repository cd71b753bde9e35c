"""`eval.report --format lerobot`: the figures of a run under the names that `lerobot-eval` uses."""

import json
from dataclasses import replace

import pytest
from run_folders import episode

from eval.report import __main__ as report


def printed(capsys, *folders):
    assert report.main([*map(str, folders), "--format", "lerobot"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_figures_of_a_run(make_run, capsys):
    found = printed(capsys, make_run("a", "+-E+", videos=2, first_seed=7))
    (task,) = found["per_task"]
    assert (task["task_group"], task["task_id"]) == ("SimScale/PickPlace-v0", 0)
    assert task["metrics"]["successes"] == [True, False, False, True]
    assert [entry["seed"] for entry in found["per_episode"]] == [7, 8, 9, 10]
    assert [entry["sum_reward"] for entry in found["per_episode"]] == task["metrics"]["sum_rewards"]
    overall = found["overall"]
    assert overall["pc_success"] == found["aggregated"]["pc_success"] == 50
    assert overall["avg_sum_reward"] == pytest.approx(sum(task["metrics"]["sum_rewards"]) / 4)
    assert (overall["n_episodes"], overall["eval_s"], overall["eval_ep_s"]) == (4, 12.5, 3.125)
    assert overall["video_paths"] == ["a/videos/episode_000000.mp4", "a/videos/episode_000001.mp4"]


def test_the_tasks_of_a_suite_are_numbered_in_the_order_of_the_plan(make_run, capsys):
    results = [replace(episode(index, index, "+"), task=task) for index, task in enumerate("bab")]
    found = printed(capsys, make_run("a", "+++", results=results))
    assert [(task["task_id"], len(task["metrics"]["successes"])) for task in found["per_task"]] == [(0, 2), (1, 1)]


def test_a_file_holds_one_run(make_run, capsys):
    a, b = make_run("a", "+"), make_run("b", "-")
    assert report.main([str(a), str(b), "--format", "lerobot"]) == 2
    assert "expected one run for eval_info.json, got 2" in capsys.readouterr().err


def test_a_run_without_episodes_has_no_figures(make_run, capsys):
    assert report.main([str(make_run("a", "", planned=3)), "--format", "lerobot"]) == 2
    assert "no finished episode" in capsys.readouterr().err
