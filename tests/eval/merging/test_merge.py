"""Shards of a run, made one by one and merged, are the run itself; what is not all of one run is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from run_folders import changed, episode, write_run

from eval import __main__, rollout
from eval.episodes.plan import PlanError, Shard, plan_episodes
from eval.merge import main
from eval.merging.runs import merge_runs
from eval.runs.log_file import EPISODES_FILE, read_results
from eval.runs.provenance import Source
from eval.runs.reading import read_run
from eval.runs.receipts import read_receipts
from eval.runs.record import RunRecord
from simscaleai.files import locked

ROOT = Path(__file__).resolve().parents[3]
FEW = ["--model", "scripted", "--env", "reach", "--episodes", "9", "--seed", "3000000700", "--quiet"]
POINT = ["--model", "point_world:Homing", "--env", "point", "--quiet"]

pytestmark = pytest.mark.usefixtures("workdir")


def make_shard(number, of=3, episodes=9, *, outcomes=None, folder=None, **others):
    """Makes the folder of one shard without running anything; returns its path."""
    shard = Shard(number=number, of=of)
    indices = [spec.episode_index for spec in shard.part_of(plan_episodes(episodes))]
    results = [episode(index, index, outcome) for index, outcome in zip(indices, outcomes or "+-+" * 3, strict=False)]
    record = changed(shard=shard, **others)
    return write_run(folder or Path(f"s{number}"), "", record=record, planned=episodes, results=results)


@pytest.fixture
def shards():
    """Three complete shards of 9 episodes."""
    return [make_shard(number) for number in (1, 2, 3)]


# Shards


@pytest.mark.parametrize("block", [1, 3, 7])
@pytest.mark.parametrize("of", [1, 3, 16, 50])
def test_every_episode_belongs_to_one_shard_and_the_shards_differ_by_at_most_a_block(of, block):
    plan = plan_episodes(50)
    shards = [Shard(number=number, of=of, block=block) for number in range(1, of + 1)]
    parts = [shard.part_of(plan) for shard in shards]
    assert sorted((spec for part in parts for spec in part), key=lambda spec: spec.episode_index) == [*plan]
    sizes = [shard.size(50) for shard in shards]
    assert sizes == [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= block
    for shard, part in zip(shards, parts, strict=True):
        assert [shard.index(place) for place in range(len(part))] == [spec.episode_index for spec in part]
        assert {shard.has(spec.episode_index) for spec in part} <= {True}


@pytest.mark.parametrize(
    "text", ["", "3", "0/4", "5/4", "-1/4", "1/0", "a/b", "1/2/3", "1.0/2", "²/3", "1/" + "9" * 5000]
)
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(PlanError, match="shard"):
        Shard.parse(text)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--until-width", "30pp"], "no shard sees the episodes of the others"),
        (["--shard", "9/16"], "at most as many shards as the 9 episodes"),
    ],
)
def test_a_shard_that_cannot_be_part_of_a_whole_is_refused(capsys, flags, reason):
    assert rollout.main([*FEW, "--shard", "1/3", *flags]) == 2
    assert reason in capsys.readouterr().err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("of", [1, 3, 8])
def test_merged_shards_are_the_undivided_run(of, capsys):
    assert rollout.main([*FEW, "--output", "plain"]) == 0
    folders = [f"s{number}" for number in range(1, of + 1)]
    for number, folder in enumerate(folders, start=1):
        assert rollout.main([*FEW, "--shard", f"{number}/{of}", "--output", folder]) == 0
    assert __main__.main(["merge", *reversed(folders), "--output", "whole"]) == 0
    assert Path("whole", EPISODES_FILE).read_bytes() == Path("plain", EPISODES_FILE).read_bytes()
    plain, whole = read_run(Path("plain")), read_run(Path("whole"))
    assert whole.is_complete
    assert whole.record.summary == plain.record.summary
    assert read_receipts(Path("whole")) == read_receipts(Path("plain"))
    times = [RunRecord.read(Path(folder)).timing for folder in folders]
    assert whole.record.timing.seconds == pytest.approx(sum(time.seconds for time in times))
    assert whole.record.timing.started == min(time.started for time in times)
    alike = {"timing": plain.record.timing, "resolved": plain.record.resolved, "config": plain.record.config}
    assert replace(whole.record, **alike) == plain.record
    differing = {name for name, value in whole.record.config.items() if value != plain.record.config[name]}
    assert differing == {"output"}
    assert "9/9" in capsys.readouterr().out
    assert rollout.main([*FEW, "--output", "whole", "--resume"]) == 0  # it is a run like any other


def test_a_shard_is_a_run_of_its_own_and_knows_the_whole(capsys):
    assert rollout.main([*FEW[:-1], "--shard", "2/4", "--output", "s"]) == 0
    out = capsys.readouterr().out
    assert "shard 2/4 of 9 episodes, seeds 3000000700 to 3000000708: 2 episodes, seeds 3000000701 3000000705" in out
    assert "--shard" not in out.splitlines()[-1]  # a replayed episode is a run of its own
    run = read_run(Path("s"))
    assert [result.episode_index for result in run.results] == [1, 5]
    assert run.is_complete
    assert run.record.summary.planned == run.record.summary.episodes == 2
    assert run.record.resolved.episodes == 9
    assert rollout.main([*FEW, "--shard", "3/4", "--output", "s", "--resume"]) == 2
    assert "shard.number: was 2, is 3" in capsys.readouterr().err


def test_films_and_traces_come_along(point_environment):
    flags = [*POINT, "--episodes", "4", "--video", "3"]
    assert rollout.main([*flags, "--output", "plain"]) == 0
    for number in (1, 2):
        assert rollout.main([*flags, "--shard", f"{number}/2", "--output", f"s{number}"]) == 0
    merge_runs([Path("s1"), Path("s2")], Path("whole"))
    for name, kind in (("videos", "mp4"), ("traces", "npz")):
        assert [path.name for path in sorted(Path("whole", name).iterdir())] == [
            f"episode_{i:06d}.{kind}" for i in range(3)
        ]
        assert len(list(Path("s1", name).iterdir())) == 2  # the shards stay as they are
    for path in Path("plain/traces").iterdir():
        assert Path("whole/traces", path.name).read_bytes() == path.read_bytes()


def test_a_killed_shard_is_refused_and_resumes_to_the_same_bytes(workdir, monkeypatch, refused):
    (workdir / "hanging.py").write_text(
        "import pathlib, time\n"
        "from policies.scripted.controls import ZeroPolicy\n\n\n"
        "class Policy(ZeroPolicy):\n"
        "    def reset(self, slots, seeds, instructions):\n"
        "        while 3000000704 in seeds and pathlib.Path('hang').exists():\n"
        "            time.sleep(0.05)\n"
    )
    monkeypatch.syspath_prepend(str(workdir))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{workdir}")
    flags = ["--model", "hanging:Policy", *FEW[2:], "--num-envs", "1"]
    assert rollout.main([*flags, "--output", "plain"]) == 0
    assert rollout.main([*flags, "--shard", "2/2", "--output", "s2"]) == 0
    Path("hang").touch()
    first = [*flags, "--shard", "1/2", "--output", "s1"]
    process = subprocess.Popen([sys.executable, "-m", "eval.rollout", *first])
    log, deadline = Path("s1", EPISODES_FILE), time.monotonic() + 120
    while not (log.exists() and log.read_bytes().count(b"\n") == 2):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "another process is writing to s1" in refused("s1", "s2")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    Path("hang").unlink()
    assert "s1, shard 1/2, has 2 of 5 episodes; the first that is missing is episode 4" in refused("s1", "s2")
    assert rollout.main([*first, "--resume"]) == 0
    merge_runs([Path("s1"), Path("s2")], Path("whole"))
    assert Path("whole", EPISODES_FILE).read_bytes() == Path("plain", EPISODES_FILE).read_bytes()


# What is not all of one run


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"config": {"seed": 7}}, "config.seed: A has null, B has 7"),
        ({"config": {"terminate_on_success": False}}, "config.terminate_on_success: A has true, B has false"),
        ({"environment": {"digest": "other"}}, 'environment.digest: A has "ea6e", B has "other"'),
        ({"policy": {"identity": "other"}}, 'B has "other"'),
        ({"fingerprint": {"gl_renderer": "NVIDIA"}}, 'fingerprint.gl_renderer: A has "llvmpipe", B has "NVIDIA"'),
        ({"fingerprint": {"libraries": {"mujoco": "4.0.0", "torch": "2.14"}}}, 'A has "2.13", B has "2.14"'),
        ({"source": Source(commit="other", dirty=False)}, 'commit: A has null, B has "other"'),
        ({"of": 4, "outcomes": "+-+"}, "shard.of: A has 3, B has 4"),
        ({"episodes": 8}, "episodes: A has 9, B has 8"),
    ],
)
def test_shards_of_different_runs_are_refused_with_the_difference(refused, shards, change, says):
    shutil.rmtree("s3")
    make_shard(3, **change)
    message = refused(*shards)
    assert "s1 (A) and s3 (B) are not shards of one run" in message
    assert says in message


def test_what_cannot_change_a_result_may_differ(shards):
    shutil.rmtree("s3")
    make_shard(3, config={"workers": 4, "num_envs": 2, "output": "elsewhere", "resume": True, "shard": "3/3"})
    assert merge_runs(shards, Path("whole")).summary.episodes == 9


def test_missing_and_repeated_shards_are_named(refused, shards):
    assert "shard 2/3 is in none of the folders" in refused("s1", "s3")
    shutil.copytree("s2", "copy")
    assert "s2 and copy both hold shard 2/3; leave one of them out" in refused(*shards, "copy")
    assert "expected each shard once, got s1 twice" in refused(*shards, "s1/")
    assert "expected the folders of all shards, got none" in refused()


def test_missing_and_foreign_episodes_are_named(refused, shards):
    lines = Path("s2", EPISODES_FILE).read_text().splitlines(keepends=True)
    Path("s2", EPISODES_FILE).write_text(lines[0] + lines[2])
    assert "s2, shard 2/3, has 2 of 3 episodes; the first that is missing is episode 4" in refused(*shards)
    Path("s2", EPISODES_FILE).write_text("".join(lines) + Path("s1", EPISODES_FILE).read_text())
    assert "s2, shard 2/3, holds episode 0, which does not belong to it" in refused(*shards)


def test_a_shard_without_its_summary_is_not_complete(refused, shards):
    shutil.rmtree("s1")
    make_shard(1, summary=None)
    assert "s1, shard 1/3, has no summary" in refused(*shards)


def test_errors_are_counted_and_are_exit_code_1(shards):
    shutil.rmtree("s2")
    make_shard(2, outcomes="+E+")
    assert main([*map(str, shards), "--output", "whole", "--quiet"]) == 1
    assert RunRecord.read(Path("whole")).summary.errors == 1
    assert [result.episode_index for result in read_results(Path("whole", EPISODES_FILE))] == [*range(9)]


def set_entry(folder, *names, value):
    path = Path(folder, "run.json")
    data = entry = json.loads(path.read_text())
    for name in names[:-1]:
        entry = entry[name]
    entry[names[-1]] = value
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda: set_entry("s2", "shard", value=None), "s2, which is a whole run"),
        (lambda: set_entry("s2", "shard", value={"number": 4, "of": 3}), "from 1 to the number of shards, got 4/3"),
        (lambda: set_entry("s2", "shard", value={"number": 10**400, "of": 10**401}), "shard.of: A has 3"),
        (lambda: set_entry("s2", "shard", value="2/3"), "expected shard"),
        (lambda: [set_entry(f"s{n}", "resolved", "episodes", value=10**400) for n in (1, 2, 3)], "has 3 of 3333"),
        (lambda: [set_entry(f"s{n}", "shard", "of", value=10**30) for n in (1, 2, 3)], "does not belong"),
        (lambda: Path("s2/run.json").write_text("["), "no record of a run"),
        (lambda: Path("s2/run.json").unlink(), "expected a run folder with run.json, got s2"),
        (lambda: Path("s2/episodes.jsonl").write_text("{}\n"), "line 1, is no episode"),
        (lambda: Path("s2/episodes.jsonl").unlink(), "s2, shard 2/3, has 0 of 3 episodes"),
        (lambda: Path("s2/receipts.json").write_text("3"), "receipts"),
        (lambda: shutil.rmtree("s2"), "s2"),
        (lambda: [Path("s2/videos").mkdir(), os.mkfifo("s2/videos/episode_000001.mp4")], "expected a regular file"),
    ],
)
def test_damaged_shards_are_refused_in_a_few_words(refused, shards, damage, says):
    damage()
    message = refused(*shards)
    assert says in message
    assert len(message) < 2000


def test_an_output_that_holds_something_is_left_alone(refused, shards):
    assert "s1 is not empty" in refused(*shards, output="s1")
    Path("full").mkdir()
    Path("full/thesis.txt").touch()
    assert "full is not empty" in refused(*shards, output="full")


def test_a_full_disk_leaves_nothing_behind(refused, shards, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device", "whole")

    monkeypatch.setattr(RunRecord, "write", full)
    assert "No space left on device" in refused(*shards)


def test_shards_stay_locked_while_they_are_merged(refused, shards):
    with locked(Path("s2")):
        assert "another process is writing to s2" in refused(*shards)
