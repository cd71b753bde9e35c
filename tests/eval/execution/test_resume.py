"""Nothing that was measured is lost: killed and interrupted runs go on, to the bytes of an uninterrupted one."""

import contextlib
import errno
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import point_world
import pytest

from eval import rollout
from eval.observers.log import EpisodeLog
from eval.runs.log_file import EPISODES_FILE, read_results
from eval.runs.record import RunRecord
from eval.terminal.flags import command_line
from simscaleai.files import locked

ROOT = Path(__file__).resolve().parents[3]
FEW = ["--env", "reach", "--episodes", "6", "--seed", "3000000500"]
HANGING = 3_000_000_504

pytestmark = pytest.mark.usefixtures("workdir")


@pytest.fixture
def run():
    """Runs the scripted expert on few episodes; returns the exit code."""
    return lambda *flags: rollout.main(["--model", "scripted", *FEW, *flags])


@pytest.fixture
def start(workdir, monkeypatch):
    """Starts the command in a process group of its own; kills what is left of it at the end."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{workdir}")
    started = []

    def begin(*arguments):
        command = [sys.executable, "-m", "eval.rollout", *arguments]
        with Path("stdout").open("w") as out, Path("stderr").open("w") as err:
            process = subprocess.Popen(command, stdout=out, stderr=err, start_new_session=True)
        started.append(process)
        return process

    yield begin
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def hanging_policy(workdir, monkeypatch):
    """A policy that never answers in one episode, as long as there is a file `hang`."""
    (workdir / "hanging.py").write_text(
        "import pathlib, time\n"
        "from policies.scripted.controls import ZeroPolicy\n\n\n"
        "class Policy(ZeroPolicy):\n"
        "    def reset(self, slots, seeds, instructions):\n"
        f"        while {HANGING} in seeds and pathlib.Path('hang').exists():\n"
        "            time.sleep(0.05)\n"
    )
    (workdir / "hang").touch()
    monkeypatch.syspath_prepend(str(workdir))
    return "hanging:Policy"


def lines(folder):
    path = Path(folder, EPISODES_FILE)
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{Path('stdout').read_text()}\n{Path('stderr').read_text()}"
        time.sleep(0.01)


def members(session):
    """Returns the ids of the living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, leader = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(leader) == session and state != "Z":
            found.append(int(path.parent.name))
    return found


def hears_ctrl_c(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    masks = [int(mask, 16) for mask in re.findall(r"^Sig(?:Blk|Ign):\t(\w+)$", status, re.MULTILINE)]
    return not any(mask >> (signal.SIGINT - 1) & 1 for mask in masks)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_run_resumes_to_the_bytes_of_an_uninterrupted_one(start, hanging_policy, workers):
    arguments = ["--model", hanging_policy, *FEW, "--num-envs", "1"]
    process = start(*arguments, "--workers", workers, "--output", "killed")
    wait_until(lambda: lines("killed") == 3 + int(workers))
    process.kill()
    process.wait()
    wait_until(lambda: not members(process.pid))
    with Path("killed", EPISODES_FILE).open("ab") as file:
        file.write(b'{"episode_index": 4, "se')
    Path("hang").unlink()
    assert rollout.main([*arguments, "--output", "killed", "--resume"]) == 0
    assert rollout.main([*arguments, "--output", "whole"]) == 0
    assert Path("killed", EPISODES_FILE).read_bytes() == Path("whole", EPISODES_FILE).read_bytes()
    assert sorted(path.name for path in Path("killed").iterdir()) == [EPISODES_FILE, "receipts.json", "run.json"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_keeps_what_is_finished_and_prints_how_to_continue(start, hanging_policy, workers):
    arguments = ["--model", hanging_policy, *FEW, "--num-envs", "1", "--workers", workers]
    process = start(*arguments, "--output", "stopped")
    wait_until(lambda: lines("stopped") == 3 + int(workers))
    assert [pid for pid in members(process.pid) if hears_ctrl_c(pid)] == [process.pid]
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=120) == 130
    wait_until(lambda: not members(process.pid))
    assert Path("stderr").read_text().splitlines() == ["interrupted"]
    out = Path("stdout").read_text()
    assert "incomplete           4 of 6 planned episodes count" in out  # not 5, which ended while 4 has not
    assert RunRecord.read(Path("stopped")).summary.episodes == 4
    (command,) = re.findall(r"^continue with +python -m eval.rollout (.*)$", out, re.MULTILINE)
    Path("hang").unlink()
    assert rollout.main(shlex.split(command)) == 0
    assert [result.episode_index for result in read_results(Path("stopped", EPISODES_FILE))] == list(range(6))


@pytest.mark.slow
@pytest.mark.parametrize("kill", range(20))
def test_a_run_killed_at_a_random_moment_resumes_to_the_same_bytes(start, kill):
    chance = random.Random(kill)  # noqa: S311  moments, not secrets
    workers = chance.choice(["1", "2"])
    whole = ["--model", "random", "--env", "reach", "--episodes", "60", "--num-envs", "3"]
    assert rollout.main([*whole, "--output", "whole"]) == 0
    flags = [*whole, "--workers", workers, "--output", "killed", "--resume"]
    process = start(*flags)
    finished = chance.randrange(-10, 55)
    wait_until(lambda: lines("killed") >= finished)
    time.sleep(chance.uniform(0.0, 2.0 if finished <= 0 else 0.1))
    os.kill(chance.choice([process.pid, *members(process.pid)]), signal.SIGKILL)
    time.sleep(chance.uniform(0.0, 1.0))
    process.kill()
    process.wait()
    wait_until(lambda: not members(process.pid))
    assert rollout.main(flags) == 0
    assert Path("killed", EPISODES_FILE).read_bytes() == Path("whole", EPISODES_FILE).read_bytes()


@pytest.mark.parametrize("cut", [1, 40, -1])
def test_a_torn_last_line_is_run_again(run, cut):
    assert run("--output", "run") == 0
    path = Path("run", EPISODES_FILE)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut] if cut > 0 else b"\xc3")  # the last: half of a character and nothing else
    assert run("--output", "run", "--resume", "--num-envs", "2") == 0
    assert path.read_bytes() == whole


def test_a_run_that_is_killed_again_and_again_has_no_broken_line(run):
    assert run("--output", "run") == 0
    path = Path("run", EPISODES_FILE)
    *kept, torn = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(kept) + torn[:20])
    results = read_results(path)
    log = EpisodeLog(Path("run"), results[:4])
    log.on_episode_end(0, results[4])
    assert read_results(path) == results


def test_a_run_killed_before_its_first_record_starts(run, capsys):
    Path("run").mkdir()
    Path("run", ".run.json.7.tmp").write_text("{")
    assert run("--output", "run", "--resume") == 0
    assert "nothing to resume in run: starting with the first episode" in capsys.readouterr().out
    assert len(read_results(Path("run", EPISODES_FILE))) == 6


def test_a_complete_run_has_nothing_to_resume(run, capsys):
    assert run("--output", "run") == 0
    before = RunRecord.read(Path("run"))
    capsys.readouterr()
    assert run("--output", "run", "--resume") == 0
    assert "run: complete, nothing to resume" in capsys.readouterr().out
    after = RunRecord.read(Path("run"))
    assert (after.summary, after.timing) == (before.summary, before.timing)


def test_an_error_is_tried_again(point_environment, monkeypatch):
    flags = ["--model", "point_world:Homing", "--env", "point", "--episodes", "6", "--output", "run"]
    with monkeypatch.context() as broken:
        broken.setattr(point_world, "BROKEN_SEEDS", {3})
        assert rollout.main(flags) == 1
    assert RunRecord.read(Path("run")).summary.errors == 1
    assert rollout.main([*flags, "--resume"]) == 0
    assert RunRecord.read(Path("run")).summary.errors == 0


def edit_record(**changes):
    path = Path("run/run.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_another_configuration_is_refused_with_both_sides(run, capsys):
    assert run("--output", "run") == 0
    assert run("--output", "run", "--resume", "--seed", "3000000501", "--no-terminate-on-success") == 2
    error = capsys.readouterr().err
    assert "cannot resume run, it began under other conditions; choose another --output" in error
    assert "  config.seed: was 3000000500, is 3000000501\n" in error
    assert "  config.terminate_on_success: was true, is false\n" in error
    assert len(error.splitlines()) == 3


def test_another_machine_is_refused_with_both_sides(run, capsys):
    assert run("--output", "run") == 0
    fingerprint = RunRecord.read(Path("run")).fingerprint
    edit_record(fingerprint=fingerprint | {"libraries": fingerprint["libraries"] | {"mujoco": "1.0"}})
    assert run("--output", "run", "--resume") == 2
    assert re.search(r'fingerprint\.libraries\.mujoco: was "1\.0", is "[\d.]+"\n', capsys.readouterr().err)


def test_another_checkpoint_is_refused_wherever_it_lies(make_checkpoint, capsys):
    checkpoint = make_checkpoint("bc")
    flags = ["--model", "bc", "--env", "reach", "--episodes", "1", "--output", "run"]
    assert rollout.main([*flags, "--checkpoint", str(checkpoint)]) == 0
    moved = checkpoint.rename("moved")
    assert rollout.main([*flags, "--checkpoint", str(moved), "--resume"]) == 0
    policies = json.loads(Path("run/run.json").read_text())["policies"]
    edit_record(policies=[policies[0] | {"identity": "0" * 64}])
    assert rollout.main([*flags, "--checkpoint", str(moved), "--resume"]) == 2
    assert 'policies.0.identity: was "000' in capsys.readouterr().err


def test_a_changed_source_of_a_users_policy_is_refused(workdir, monkeypatch, capsys):
    source = "from policies.scripted.controls import RandomPolicy as Policy\n"
    (workdir / "own_policy.py").write_text(source)
    monkeypatch.syspath_prepend(str(workdir))
    flags = ["--model", "own_policy:Policy", *FEW, "--output", "run"]
    assert rollout.main(flags) == 0
    assert rollout.main([*flags, "--resume"]) == 0
    (workdir / "own_policy.py").write_text(source.replace("Random", "Zero"))
    assert rollout.main([*flags, "--resume"]) == 2
    assert "policies.0.identity: was" in capsys.readouterr().err


def test_another_policy_option_is_refused(run, capsys):
    assert run("--output", "run") == 0
    assert run("--output", "run", "--resume", "--policy-option", "n_action_steps=1") == 2
    assert "policies.0.options.n_action_steps: was null, is 1" in capsys.readouterr().err


def test_episodes_of_another_plan_are_refused(run, capsys):
    assert run("--output", "run") == 0
    path = Path("run", EPISODES_FILE)
    path.write_text(path.read_text().replace("3000000502", "7"))
    assert run("--output", "run", "--resume") == 2
    assert "holds episode 2 with seed 7, which is not in the plan" in capsys.readouterr().err


def test_a_mistake_leaves_no_folder_behind(capsys):
    assert rollout.main(["--model", "scripte"]) == 2
    assert not list(Path.cwd().iterdir())


def test_an_existing_run_is_left_alone(run, capsys):
    assert run("--output", "run") == 0
    before = Path("run", EPISODES_FILE).read_bytes()
    assert run("--output", "run") == 2
    assert "run already holds a run; add --resume to continue it" in capsys.readouterr().err
    assert Path("run", EPISODES_FILE).read_bytes() == before


def test_two_runs_never_write_to_one_folder(run, capsys):
    assert run("--output", "run") == 0
    with locked(Path("run")):
        assert run("--output", "run", "--resume") == 2
    assert "another process is writing to run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--resume"], "expected --output with --resume"),
        (["--output", "other", "--resume"], "other is not empty"),
        (["--output", "other/file", "--resume"], "other/file is a file"),
        (["--output", "other/file/run"], "Not a directory"),
        (["--output", "/proc/run"], "/proc/run"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_any_work(run, monkeypatch, capsys, flags, message):
    monkeypatch.setattr("eval.rollout.build_policy", None)
    Path("other").mkdir()
    Path("other", "file").touch()
    assert run(*flags) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_full_disk_ends_the_run_with_one_line_and_the_rest_is_resumed(run, monkeypatch, capsys, workers):
    """The disk is full when the third episode shall be written."""
    import eval.observers.log

    append, written = eval.observers.log.append_result, []

    def append_until_full(path, result):
        written.append(result)
        append(path if len(written) < 3 else Path("/dev/full"), result)

    with monkeypatch.context() as full:
        full.setattr(eval.observers.log, "append_result", append_until_full)
        assert run("--output", "run", "--workers", workers) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{os.strerror(errno.ENOSPC)}; what was finished before is kept, so remove the cause and continue" in line
    assert lines("run") == 2
    assert run("--output", "run", "--resume") == 0
    assert lines("run") == 6


def test_a_command_line_says_every_choice_and_no_default():
    config = rollout.RolloutConfig(model="a b:C", seeds=(3, 4), terminate_on_success=False, checkpoint=Path("x y"))
    words = "--model 'a b:C' --checkpoint 'x y' --seeds 3 4 --no-terminate-on-success"
    assert command_line("rollout", config) == f"rollout {words}"


def test_seconds_of_all_invocations_count_also_of_one_that_was_killed(start, hanging_policy):
    """An invocation that is killed writes no time, but it had begun and finished episodes at some time."""
    arguments = ["--model", hanging_policy, *FEW, "--num-envs", "1", "--output", "killed"]
    process = start(*arguments)
    wait_until(lambda: lines("killed") == 4)
    process.kill()
    process.wait()
    began = Path("killed", "run.json").stat().st_mtime
    os.utime(Path("killed", EPISODES_FILE), (began + 100, began + 100))
    assert RunRecord.read(Path("killed")).timing.seconds is None
    Path("hang").unlink()
    assert rollout.main([*arguments, "--resume"]) == 0
    first = RunRecord.read(Path("killed")).timing
    assert 100 < first.seconds < 130
    assert first.episodes_per_second == pytest.approx(6 / first.seconds)
    assert rollout.main([*arguments, "--resume"]) == 0
    assert RunRecord.read(Path("killed")).timing == first


def test_a_resumed_run_tells_the_time_of_the_run_and_of_its_last_part(run, capsys):
    assert run("--output", "run") == 0
    record = json.loads(Path("run", "run.json").read_text())
    record["timing"]["seconds"] = 100.0
    Path("run", "run.json").write_text(json.dumps(record))
    path = Path("run", EPISODES_FILE)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    capsys.readouterr()
    assert run("--output", "run", "--resume") == 0
    assert re.search(
        r"^time +100\.\d s, 0\.06 episodes/s; since the run was resumed, 0\.\d s and 2 episodes$",
        capsys.readouterr().out,
        re.MULTILINE,
    )
