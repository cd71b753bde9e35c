"""Shards of a battery, run one by one and merged, are the battery itself; a shard is a battery of fewer starts."""

import json
import shutil
from pathlib import Path

import pytest

from eval import merge, robustness
from eval.battery.reading import read_battery
from eval.report import __main__ as report
from eval.runs.reading import read_run
from eval.runs.receipts import read_receipts

STARTS = 7
BATTERY = ["--model", "point_world:Homing", "zero", "--env", "point", "--axes", "wind", "--levels", "3", "5"]
FEW = [*BATTERY, "--sweep", "n_action_steps=1", "--episodes", str(STARTS), "--quiet"]
RUNS = [".", "options/n_action_steps=1", "policies/zero"]


pytestmark = pytest.mark.usefixtures("workdir", "point_package")


def run_shards(of, *flags, words=FEW):
    folders = [f"s{number}" for number in range(1, of + 1)]
    for number, folder in enumerate(folders, start=1):
        assert robustness.main([*words, "--shard", f"{number}/{of}", "--output", folder, *flags]) == 0
    return folders


def pictures(folder):
    return {path.name: path.read_bytes() for path in Path(folder, "frames").iterdir()}


@pytest.mark.parametrize("of", [1, 3])
def test_merged_shards_are_the_undivided_battery(of, capsys):
    assert robustness.main([*FEW[:-1], "--output", "plain"]) == 0
    findings = capsys.readouterr().out
    assert merge.main([*reversed(run_shards(of)), "--output", "whole"]) == 0
    for run in RUNS:
        plain, whole = Path("plain", run), Path("whole", run)
        assert (whole / "episodes.jsonl").read_bytes() == (plain / "episodes.jsonl").read_bytes()
        assert read_receipts(whole) == read_receipts(plain)
        assert read_run(whole).record.summary == read_run(plain).record.summary
        assert read_run(whole).record.shard is None
    assert pictures("whole") == pictures("plain")
    assert "What this battery does not show" in Path("whole/report.html").read_text()
    merged = capsys.readouterr().out.splitlines()
    names = ("control", "wind", "largest drop", "verdict", "n_action_steps")
    told = [line for line in merged if line.startswith(names)]
    assert len(told) > len(names)
    assert all(line in findings for line in told)
    assert robustness.main([*FEW, "--output", "whole", "--resume"]) == 0  # it is a battery like any other


def test_a_shard_has_all_arms_of_its_starts(capsys):
    run_shards(3)
    battery = read_battery(Path("s2"))
    assert battery.tested.outcomes.seeds == (1, 4)
    assert battery.tested.run.is_complete
    assert [result.episode_index for result in battery.tested.run.results] == [3, 4, 5, 12, 13, 14]
    assert [result.episode_index for result in battery.options["n_action_steps=1"].run.results] == [1, 4]
    assert battery.tested.run.record.summary.planned == 2
    assert report.main(["s2", "--output", "page.html"]) == 0
    assert robustness.main([*FEW, "--shard", "3/3", "--output", "s2", "--resume"]) == 2
    assert "shard.number: was 2, is 3" in capsys.readouterr().err


def test_the_expert_is_merged_too():
    words = [
        "--model",
        "zero",
        "--env",
        "reach",
        "--axes",
        "action.noise",
        "--levels",
        "5",
        "--episodes",
        "3",
        "--quiet",
    ]
    assert robustness.main([*words, "--output", "plain"]) == 0
    assert merge.main([*run_shards(2, words=words), "--output", "whole"]) == 0
    assert Path("whole/expert/episodes.jsonl").read_bytes() == Path("plain/expert/episodes.jsonl").read_bytes()
    assert read_battery(Path("whole")).findings().expert.control.n == 3


def test_more_shards_than_starts_are_refused(capsys):
    assert robustness.main([*FEW, "--shard", "1/8", "--output", "s"]) == 2
    assert "expected at most as many shards as the 7 starts, got --shard 1/8" in capsys.readouterr().err
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda: shutil.rmtree("s2/policies/zero"), "s2 has no run in policies/zero, which other shards have"),
        (lambda: spoil("s2/policies/zero", "python", "2.7"), 'fingerprint.python: A has "3.'),
        (lambda: spoil("s2", "python", "2.7"), "s1 (A) and s2 (B) are not shards of one run"),
        (
            lambda: shorten("s2/episodes.jsonl"),
            "s2, shard 2/2, has 8 of 9 episodes; the first that is missing is",
        ),
        (
            lambda: shorten("s1/options/n_action_steps=1/episodes.jsonl"),
            "has 3 of 4 episodes; the first that is",
        ),
    ],
)
def test_what_is_not_one_complete_battery_is_refused(refused, damage, says):
    run_shards(2)
    damage()
    assert says in refused("s1", "s2")


def spoil(folder, name, value):
    path = Path(folder, "run.json")
    record = json.loads(path.read_text())
    record["fingerprint"][name] = value
    path.write_text(json.dumps(record))


def shorten(path):
    """Removes the last line."""
    lines = Path(path).read_text().splitlines(keepends=True)
    Path(path).write_text("".join(lines[:-1]))


def test_a_shard_of_another_battery_is_refused(refused):
    run_shards(2)
    shutil.rmtree("s2")
    assert robustness.main([*FEW, "--levels", "2", "5", "--shard", "2/2", "--output", "s2"]) == 0
    assert "config.levels: A has" in refused("s1", "s2")
