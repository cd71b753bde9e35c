"""What the view answers about a folder of runs, also a hostile one."""

import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from battery_folders import FALLING, write_battery, write_expert
from run_folders import RECORD, episode, write_run

from eval.runs.log_file import EPISODES_FILE, append_result
from eval.runs.media_paths import TRACES_FOLDER, VIDEOS_FOLDER, trace_path, video_path
from eval.runs.receipts import RECEIPTS_FILE
from eval.runs.versions import RECORD_FILE
from eval.view.__main__ import contents, main
from simscaleai.errors import SimScaleError


def ask(shown, name):
    return json.loads(shown.answer(f"data/{name}.json").body)


def rows(shown):
    return {row["path"]: row for row in ask(shown, "runs")["runs"]}


def reasons(shown):
    return {each["path"]: each["reason"] for each in ask(shown, "runs")["left_out"]}


def test_a_line_about_each_run_at_any_depth(runs, make_run):
    make_run("a", "+++-")
    make_run("deep/er/b", "-E", policy={"model": "mine"})
    found = rows(contents(runs))
    assert list(found) == ["a", "deep/er/b"]
    a, b = found.values()
    assert (a["policy"], a["n"], a["successes"], a["rate"], a["failures"]) == ("bc", 4, 3, 0.75, {"dropped": 1})
    assert a["interval"] == pytest.approx([0.3006, 0.9544], abs=1e-4)
    assert (a["started"], a["commit"], a["dirty"], a["ended"]) == ("2026-01-02T03:04:05+00:00", "ab" * 20, True, True)
    assert (b["policy"], b["errors"], b["rate"]) == ("mine", 1, 0.0)


def test_a_line_names_the_options_of_the_policy(runs, make_run):
    make_run("a", "+", config={"policy_option": ["gain=0.5"]})
    assert rows(contents(runs))["a"]["conditions"] == ["gain=0.5"]


def test_a_run_folder_itself_can_be_shown(make_run):
    assert list(rows(contents(make_run("a", "+")))) == ["a"]


def test_a_run_that_goes_on_counts_the_episodes_before_the_first_gap(runs):
    folder = write_run(runs / "a", "", planned=10, record=replace(RECORD, summary=None))
    shown = contents(runs)
    assert (rows(shown)["a"]["n"], rows(shown)["a"]["interval"]) == (0, [0.0, 1.0])
    for index, outcome in ((0, "+"), (1, "-"), (3, "+")):
        append_result(folder / EPISODES_FILE, episode(index, index, outcome))
    row = rows(shown)["a"]
    assert (row["n"], row["done"], row["planned"], row["successes"], row["ended"]) == (2, 3, 10, 1, False)


def test_of_a_run_that_goes_on_only_new_episodes_are_read(runs):
    folder = write_run(runs / "a", "+-", planned=10, record=replace(RECORD, summary=None))
    log, shown = folder / EPISODES_FILE, contents(runs)
    key = rows(shown)["a"]["key"]
    with log.open("r+b") as file:
        file.write(b"damage that nobody reads")
    for done in (3, 4):
        append_result(log, episode(done - 1, done - 1, "+"))
        assert rows(shown)["a"]["done"] == len(ask(shown, f"run/{key}")["episodes"]) == done
    log.write_bytes(log.read_bytes().partition(b"\n")[2])  # shorter: now the file is read from its beginning
    assert (rows(shown)["a"]["done"], rows(shown)["a"]["n"]) == (3, 0)
    assert [each[0] for each in ask(shown, f"run/{key}")["episodes"]] == [1, 2, 3]


def test_the_pace_of_a_run_that_goes_on_is_that_of_its_file(runs):
    folder = write_run(runs / "a", "+", planned=10, record=replace(RECORD, summary=None))
    shown = contents(runs)
    os.utime(folder / EPISODES_FILE, (2e9, 2e9))
    assert rows(shown)["a"]["pace"] is None  # the record says no start
    for index in (1, 2, 3, 4):
        append_result(folder / EPISODES_FILE, episode(index, index, "+"))
    os.utime(folder / EPISODES_FILE, (2e9 + 2, 2e9 + 2))
    assert (rows(shown)["a"]["done"], rows(shown)["a"]["pace"]) == (5, 2.0)


def test_the_page_of_a_run_has_its_episodes_films_and_commands(runs, make_run):
    make_run("a", "+-+", filmed=[1, 2], first_seed=7)
    shown = contents(runs)
    key = rows(shown)["a"]["key"]
    page = ask(shown, f"run/{key}")
    assert [each[:3] for each in page["episodes"]] == [[0, 7, "success"], [1, 8, "failure"], [2, 9, "success"]]
    assert page["texts"][page["episodes"][1][3]] == "dropped"
    assert sorted(page["films"]) == page["details"] == [1, 2]
    ((task, arm, command),) = page["replay"]
    assert (task, arm) == (None, None)
    assert command.startswith("python -m eval.rollout --model bc --checkpoint 'my checkpoints/bc'")
    assert command.endswith("--seeds")


def test_a_seed_with_more_digits_than_a_browser_counts_keeps_them(runs, make_run):
    make_run("a", "+", first_seed=2**53 + 1)
    shown = contents(runs)
    assert ask(shown, f"run/{rows(shown)['a']['key']}")["episodes"][0][1] == str(2**53 + 1)


def test_a_folder_with_too_many_entries_is_left_out(runs, make_run, monkeypatch):
    make_run("a", "+")
    monkeypatch.setattr("eval.view.run_index._MOST_ENTRIES", 3)
    for number in range(4):
        (runs / "many" / str(number)).mkdir(parents=True)
    shown = contents(runs)
    assert list(rows(shown)) == ["a"]
    assert reasons(shown) == {"many": "holds more than 3 files and folders"}


def test_the_page_of_an_episode_has_plots_events_and_looks(runs, make_run):
    make_run("a", "+-", filmed=[1])
    shown = contents(runs)
    trace = ask(shown, f"episode/{rows(shown)['a']['key']}/1")["trace"]
    assert [plot["name"] for plot in trace["plots"]] == ["executed action", "reward", "ee_position"]
    assert [plot["labels"] for plot in trace["plots"]] == [["delta_x", "gripper"], ["reward"], ["x", "y", "z"]]
    assert trace["plots"][1]["lines"] == [list(range(30))]
    # The film shows after 11 steps what the 11th step led to.
    assert trace["events"] == [[1, "start"], [11, "grasped"], [21, "dropped"], [30, "success"]]
    assert trace["looks"] == [0, 4, 8]


def test_two_runs_are_paired_with_discordant_episodes_first(runs, make_run):
    make_run("a", "++-+")
    make_run("b", "+-++")
    make_run("c", "+-++", environment={"env_id": "Other/Task-v0"})
    shown = contents(runs)
    a, b, c = (row["key"] for row in rows(shown).values())
    found = ask(shown, f"comparison/{a}/{b}")
    assert [pair[1] for pair in found["pairs"]] == [1, 2, 0, 3]
    assert dict(found["rows"])["verdict"].startswith("cannot tell")
    assert any("environment" in reason for reason in ask(shown, f"comparison/{a}/{c}")["reasons"])


def test_a_battery_has_curves_and_its_report(runs):
    write_expert(write_battery(runs / "battery", FALLING))
    shown = contents(runs)
    key = rows(shown)["battery"]["key"]
    (policy,) = ask(shown, f"curves/{key}")["policies"]
    assert dict(ask(shown, f"run/{key}")["facts"])["Episodes"].endswith(" arms, each 20 episodes, seeds 0 to 19")
    light = policy["axes"][0]
    assert [level[2:4] for level in light["levels"]] == [[20, 20], [20, 20], [10, 20], [0, 20]]
    assert policy["ceiling"] is None
    assert b"Robustness of bc" in shown.answer(f"report/{key}.html").body


def test_the_report_of_a_run_is_sandboxed_and_imports_nothing_that_the_run_names(runs, make_run, monkeypatch):
    monkeypatch.setattr("eval.report.findings.starting_places", lambda *_: pytest.fail("asked the environment"))
    make_run("a", "+-")
    shown = contents(runs)
    answer = shown.answer(f"report/{rows(shown)['a']['key']}.html")
    assert answer.policy.startswith("sandbox ")
    assert b"in PickPlace" in answer.body


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / RECORD_FILE).write_text("{"), "is no record"),
        (lambda folder: (folder / RECORD_FILE).write_text("[" * 100_000), "is no record"),
        (lambda folder: (folder / RECORD_FILE).write_bytes(b"\xff\x00" * 50), "is no record"),
        (lambda folder: os.truncate(folder / RECORD_FILE, 10**9), "more than 20000000"),
        (lambda folder: os.truncate(folder / EPISODES_FILE, 2 * 10**9), "more than 1000000000"),
        (lambda folder: ((folder / RECORD_FILE).unlink(), os.mkfifo(folder / RECORD_FILE)), "regular file"),
        (lambda folder: ((folder / RECORD_FILE).unlink(), (folder / RECORD_FILE).mkdir()), "regular file"),
    ],
)
def test_a_damaged_run_is_left_out_with_a_reason(runs, make_run, damage, reason):
    make_run("good", "+")
    damage(make_run("bad", "+"))
    shown = contents(runs)
    assert list(rows(shown)) == ["good"]
    assert reason in reasons(shown)["bad"]


def test_links_are_not_followed(tmp_path, runs, make_run):
    secret = write_run(tmp_path / "secret", "+", record=RECORD)
    (runs / "folder").symlink_to(secret)
    for name in (RECORD_FILE, EPISODES_FILE):
        folder = make_run(f"linked-{name}", "+")
        (folder / name).unlink()
        (folder / name).symlink_to(secret / name)
    shown = contents(runs)
    assert rows(shown) == {}
    assert set(reasons(shown)) == {"folder", f"linked-{RECORD_FILE}", f"linked-{EPISODES_FILE}"}
    assert all("link" in reason for reason in reasons(shown).values())


def test_links_within_a_run_are_not_followed(tmp_path, runs, make_run):
    outside = tmp_path / "outside"
    outside.mkdir()
    for path in (video_path(outside, 0), trace_path(outside, 0), outside / RECEIPTS_FILE):
        path.write_text("secret")
    one, two = make_run("one", "+", filmed=[0]), make_run("two", "+")
    for path in (video_path(one / VIDEOS_FOLDER, 0), trace_path(one / TRACES_FOLDER, 0), one / RECEIPTS_FILE):
        path.unlink(missing_ok=True)
        path.symlink_to(outside / path.name)
    for name in (VIDEOS_FOLDER, TRACES_FOLDER):
        (two / name).symlink_to(outside)
    shown = contents(runs)
    for row in rows(shown).values():
        page = ask(shown, f"run/{row['key']}")
        assert page["films"] == []
        for address in (f"film/{row['key']}/0.mp4", f"report/{row['key']}.html"):
            with pytest.raises(SimScaleError, match="link"):
                shown.answer(address)
        details = ask(shown, f"episode/{row['key']}/0")
        assert "link" in details["trace"]["reason"]
        assert "secret" not in json.dumps(details)


def huge_header(path):
    """Writes an array whose header claims 10¹² numbers."""
    with zipfile.ZipFile(path, "w") as archive, archive.open("reward.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})


def bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("reward.npy", bytes(60_000_000))


@pytest.mark.parametrize(
    "write",
    [
        huge_header,
        bomb,
        lambda path: path.write_bytes(b"no archive"),
        lambda path: path.write_bytes(path.read_bytes()[:-200]),
        lambda path: np.savez(path, reward=np.array([{"a": 1}], dtype=object)),
        lambda path: np.savez(path, reward=np.zeros(3)),
        lambda path: np.savez(path, reward=np.zeros((0,)), stage=np.zeros((3, 3))),
    ],
)
def test_a_damaged_trace_is_named(runs, make_run, write):
    write(trace_path(make_run("a", "+", filmed=[0]) / TRACES_FOLDER, 0))
    shown = contents(runs)
    assert ask(shown, f"episode/{rows(shown)['a']['key']}/0")["trace"]["reason"]


def test_only_addresses_of_the_view_have_an_answer(runs, make_run):
    make_run("a", "+", filmed=[0])
    shown = contents(runs)
    key = rows(shown)["a"]["key"]
    wrong = ["../a/run.json", "a/run.json", f"film/{key}/../../run.json", f"film/{key}/-1.mp4", f"film/{key}/9.mp4"]
    wrong += [
        "film/none/0.mp4",
        "data/run/none.json",
        "data/none.json",
        f"data/curves/{key}/{key}/{key}.json",
        "data/.json",
    ]
    wrong += [f"film/{key}/{'9' * 400}.mp4", "report/../a.html", "templates/page.js", f"data/episode/{key}.json"]
    for address in wrong:
        with pytest.raises(SimScaleError):
            shown.answer(address)


def test_a_folder_that_does_not_exist_is_a_mistake_in_one_line(capsys):
    assert main(["no/such/folder"]) == 2
    assert capsys.readouterr().err.startswith("error: expected a folder of runs, got no/such/folder")


def test_the_view_writes_nothing_into_the_folder(runs, make_run):
    folder = make_run("a", "+-", filmed=[1])
    before = sorted((path, path.stat().st_mtime_ns) for path in Path(runs).rglob("*"))
    shown = contents(runs)
    key = rows(shown)["a"]["key"]
    for name in (f"run/{key}", f"episode/{key}/1"):
        ask(shown, name)
    shown.answer(f"report/{key}.html")
    assert sorted((path, path.stat().st_mtime_ns) for path in Path(runs).rglob("*")) == before
    assert folder.is_dir()
