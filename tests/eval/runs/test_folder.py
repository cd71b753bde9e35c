"""Where a run may write, and under which conditions it may be resumed."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from run_folders import RECORD, changed, episode, stopped, write_run

from eval.episodes.plan import plan_episodes
from eval.episodes.results import ResultsError
from eval.runs.folder import (
    check_output,
    check_same_conditions,
    check_same_run,
    earlier_record,
    earlier_results,
    run_folder,
)
from eval.runs.log_file import EPISODES_FILE, append_result
from eval.runs.schema.stopping import Reference
from simscaleai.errors import SimScaleError
from simscaleai.files import locked

pytestmark = pytest.mark.usefixtures("workdir")


def test_a_new_folder_is_not_created_by_the_check():
    check_output(Path("a/b"), resume=False)
    assert list(Path().iterdir()) == []


def test_a_run_is_only_continued_if_asked_for():
    folder = write_run(Path("a"), "+-")
    check_output(folder, resume=True)
    with pytest.raises(ResultsError, match="a already holds a run; add --resume to continue it"):
        check_output(folder, resume=False)


def test_a_damaged_run_is_not_continued():
    folder = write_run(Path("a"), "+-")
    (folder / "run.json").write_text("{}")
    with pytest.raises(ResultsError, match="schema version"):
        check_output(folder, resume=True)


@pytest.mark.parametrize(
    ("folder", "message"),
    [("other", "other is not empty"), ("other/file", "other/file is a file"), ("other/file/run", "Not a directory")],
)
def test_a_folder_that_cannot_take_a_run_is_refused(folder, message):
    Path("other").mkdir()
    Path("other/file").touch()
    with pytest.raises((SimScaleError, OSError), match=message):
        check_output(Path(folder), resume=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_writable_is_refused():
    Path("a").mkdir(mode=0o500)
    with pytest.raises(ResultsError, match="not writable"):
        check_output(Path("a"), resume=False)


def test_what_a_run_killed_before_its_first_record_has_left_is_removed():
    Path("a").mkdir()
    Path("a/.run.json.4711.tmp").write_text("{")
    check_output(Path("a"), resume=True)
    assert list(Path("a").iterdir()) == []
    assert earlier_record(Path("a")) is None


def test_runs_without_an_output_get_numbered_folders():
    with run_folder(None, "vla-reach") as first, run_folder(None, "vla-reach") as second:
        assert [first, second] == [Path("runs/vla-reach-001"), Path("runs/vla-reach-002")]
        (second / "run.json").touch()
    assert list(Path("runs").iterdir()) == [second]
    with run_folder(None, "vla-reach") as again:
        assert again == first


def test_a_numbered_folder_goes_if_nothing_was_written():
    Path("home").mkdir()
    with run_folder(None, "vla-reach", Path("home")) as folder:
        assert (Path("home") / folder).is_dir()
    assert list(Path("home").iterdir()) == []


def test_finished_episodes_are_kept_and_errors_run_again():
    folder = write_run(Path("a"), "+E-", first_seed=5)
    assert [result.episode_index for result in earlier_results(folder, plan_episodes(9, 5))] == [0, 2]
    assert earlier_results(Path("nowhere"), plan_episodes(9, 5)) == []


def test_episodes_of_another_plan_are_refused():
    folder = write_run(Path("a"), "+-", first_seed=5)
    with pytest.raises(ResultsError, match="holds episode 0 with seed 5, which is not in the plan"):
        earlier_results(folder, plan_episodes(9, 6))
    append_result(folder / EPISODES_FILE, episode(9, 14, "+"))
    with pytest.raises(ResultsError, match="holds episode 9 with seed 14"):
        earlier_results(folder, plan_episodes(9, 5))


def same(**changes):
    return changed(**{"config": {"num_envs": 3, "output": "a"}} | changes)


@pytest.mark.parametrize(
    "now",
    [
        RECORD,
        same(),
        same(policy={"checkpoint": "moved/bc"}),
        same(
            config={"checkpoint": "moved/bc", "vs": "moved", "workers": 2, "resume": True, "json": True, "quiet": True}
        ),
        same(summary=None),
        same(timing=replace(RECORD.timing, seconds=3.0)),
    ],
)
def test_what_changes_no_result_may_change(now):
    check_same_run(Path("a"), RECORD, now)


@pytest.mark.parametrize(
    ("now", "line"),
    [
        (same(config={"seed": 3}), "config.seed: was null, is 3"),
        (same(policy={"identity": "00"}), f'policies.0.identity: was "{"5bce" * 16}", is "00"'),
        (same(policy={"options": {"n_action_steps": 2}}), "policies.0.options.n_action_steps: was null, is 2"),
        (
            same(policy={"needs": RECORD.environment.needs("state")}),
            "policies.0.needs.cameras.front: was [96, 96], is null",
        ),
        (same(environment={"digest": "77"}), 'environment.digest: was "ea6e", is "77"'),
        (same(environment={"control_hz": 30}), "environment.control_hz: was 20, is 30"),
        (
            same(fingerprint={"libraries": {"mujoco": "1.0", "torch": "2.13"}}),
            'fingerprint.libraries.mujoco: was "4.0.0", is "1.0"',
        ),
        (same(resolved=replace(RECORD.resolved, episodes=9)), "episodes: was 3, is 9"),
    ],
)
def test_what_changes_results_is_named_with_both_sides(now, line):
    with pytest.raises(
        ResultsError, match="cannot resume a, it began under other conditions; choose another --out"
    ) as e:
        check_same_run(Path("a"), RECORD, now)
    assert f"  {line}" in str(e.value).splitlines()


def test_another_reference_is_refused_wherever_it_is():
    def against(folder, digest):
        return replace(RECORD, sequential=stopped(1, vs=Reference(folder=folder, episodes_sha256=digest)))

    check_same_run(Path("a"), against("x", "ab"), against("moved", "ab"))
    with pytest.raises(ResultsError, match='  vs: was "ab", is "cd"'):
        check_same_run(Path("a"), against("x", "ab"), against("x", "cd"))


def test_any_conditions_can_be_compared():
    check_same_conditions(Path("a"), {"n": 1}, {"n": 1})
    with pytest.raises(ResultsError, match="  n: was 1, is 2"):
        check_same_conditions(Path("a"), {"n": 1}, {"n": 2})


def test_files_of_a_process_that_is_still_writing_are_left_alone():
    """They are there before the run has a record."""
    Path("a").mkdir()
    Path("a/.run.json.4711.tmp").write_text("{")
    with locked(Path("a")):
        for resume in (False, True):
            with pytest.raises(SimScaleError, match="another process is writing to a"):
                check_output(Path("a"), resume=resume)
        check_output(Path("b"), resume=False)
    assert Path("a/.run.json.4711.tmp").read_text() == "{"


def test_the_folder_of_runs_is_checked_before_a_run_without_an_output():
    check_output(None, resume=False)
    assert list(Path().iterdir()) == []
    Path("runs").touch()
    with pytest.raises((SimScaleError, OSError)):
        check_output(None, resume=False)
