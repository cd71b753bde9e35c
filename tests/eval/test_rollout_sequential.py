"""`eval.rollout` that stops when it has seen enough, as users meet it."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest
import run_folders

from eval import compare, rollout
from eval.episodes.observer import Observer
from eval.episodes.plan import plan_episodes
from eval.execution.planning import plan_run
from eval.execution.processes import run_in_workers
from eval.execution.worker import WorkerJob
from eval.runs.log_file import EPISODES_FILE, append_result, read_results
from eval.runs.reading import read_run
from eval.runs.receipts import read_receipts
from eval.runs.record import RunRecord
from eval.statistics.power import independent_discordance, mcnemar_power
from eval.statistics.sequential import confidence_sequence

BASE = 3_000_003_300
"""First of 61 seeds whose episodes do not begin at the goal. Divisible by 3."""

HANGING = BASE + 7
POINT = ["--env", "point"]
SEEDS = [*POINT, "--seed", str(BASE)]

pytestmark = pytest.mark.usefixtures("workdir", "point_package")


@pytest.fixture
def sometimes(workdir, monkeypatch):
    """A policy that succeeds, soon, with two seeds of three, and otherwise does nothing until the time is over.

    With one seed it never answers, as long as there is a file `hang`. As long as there is a file `interrupt`, it is
    interrupted after 20 answers. Each process that loads it writes its id into the file `loaded`, and the file `asked`
    is there as soon as it was asked.
    """
    (workdir / "sometimes.py").write_text(
        "import os, pathlib, time\n"
        "import numpy as np\n"
        "from policies.base import Policy as Base\n\n\n"
        "class Policy(Base):\n"
        "    def __init__(self, spec):\n"
        "        self.needs, self.tries, self.answers = spec.needs('position'), {}, 0\n"
        "        with open('loaded', 'a') as file:\n"
        "            file.write(f'{os.getpid()} ')\n\n"
        "    def reset(self, slots, seeds, instructions):\n"
        f"        while {HANGING} in seeds and pathlib.Path('hang').exists():\n"
        "            time.sleep(0.05)\n"
        "        self.tries.update({slot: seed % 3 != 0 for slot, seed in zip(slots.tolist(), seeds)})\n\n"
        "    def predict(self, observation, slots):\n"
        "        pathlib.Path('asked').touch()\n"
        "        if self.answers == 20 and pathlib.Path('interrupt').exists():\n"
        "            raise KeyboardInterrupt\n"
        "        self.answers += 1\n"
        "        tries = np.array([self.tries[slot] for slot in slots.tolist()], dtype=np.float32)\n"
        "        return -5 * observation['position'][:, None] * tries[:, None, None]\n"
    )
    monkeypatch.syspath_prepend(str(workdir))
    monkeypatch.setenv("PYTHONPATH", os.environ["PYTHONPATH"] + os.pathsep + str(workdir))
    return "sometimes:Policy"


@pytest.fixture
def zero(workdir):
    """The run to compare with: 60 episodes, none a success."""
    assert rollout.main(["--model", "zero", *SEEDS, "--episodes", "60", "--output", "zero", "--quiet"]) == 0
    return "zero"


def read_bytes(folder):
    return Path(folder, EPISODES_FILE).read_bytes()


def sequential_of(folder):
    return RunRecord.read(Path(folder)).sequential


N = 12
"""Episodes after which `sometimes` has succeeded 8 times where `zero` has not: the evidence is then 2^8 / 9 > 20."""


@pytest.fixture
def against(zero, sometimes):
    """Runs `sometimes` until decided against `zero`; returns the exit code."""
    flags = ["--model", sometimes, *POINT, "--until-decided", "--vs", zero]
    return lambda output, *more: rollout.main([*flags, "--output", output, *more])


def test_any_shape_ends_after_the_same_episodes(against, sometimes):
    shapes = [("1", "1"), ("1", "5"), ("1", "60"), ("2", "3")]
    for workers, num_envs in shapes:
        assert against(f"{workers}-{num_envs}", "--workers", workers, "--num-envs", num_envs) == 0
        files = sorted(path.name for path in Path(f"{workers}-{num_envs}").iterdir())
        assert files == [EPISODES_FILE, "receipts.json", "run.json"]
    assert len({read_bytes("-".join(shape)) for shape in shapes}) == 1
    assert rollout.main(["--model", sometimes, *SEEDS, "--episodes", "60", "--output", "whole"]) == 0
    assert read_results(Path("1-1", EPISODES_FILE)) == read_results(Path("whole", EPISODES_FILE))[:N]


def test_what_it_says_of_the_comparison(against, capsys):
    against("run")
    out = capsys.readouterr().out
    assert f"at most 60 episodes, seeds {BASE} to {BASE + 59}, until decided at 5% against zero" in out
    assert "success once         8/12   66.7 %   95 % interval [" in out
    assert "(confidence sequence, valid under stopping)" in out
    assert (
        "stopping             at level 0.05 against zero (A); the run ended after 12 of at most 60 episodes; 48 saved"
        in out
    )
    assert "1/e                  0.035, 0.05 or less decides (anytime-valid, two-sided, 8 discordant pairs)" in out
    assert "verdict              B is better than A" in out
    for word in ("Wilson", "Newcombe", "McNemar", "detectable", "incomplete"):
        assert word not in out


def test_what_it_records_of_the_comparison(against):
    against("run")
    record = RunRecord.read(Path("run"))
    sequential, findings = record.sequential, record.sequential.findings
    assert (sequential.rule, sequential.threshold) == ("until_decided", pytest.approx(0.05))
    assert (sequential.limit, sequential.episodes, sequential.decided, sequential.saved) == (60, 12, True, 48)
    assert sequential.vs.folder == "zero"
    assert findings.verdict == "better"
    assert findings.pairs == {"both": 0, "only_a": 0, "only_b": 8, "neither": 4}
    assert findings.difference == pytest.approx(8 / 12)
    low, high = findings.difference_sequence_95
    assert 0 < low < 8 / 12 < high
    assert findings.inverse_e_value == pytest.approx(9 / 256)
    summary = record.summary
    assert summary.wilson_95 is summary.at_least_95 is summary.smallest_difference is None
    assert summary.confidence_sequence_95 == pytest.approx(confidence_sequence(8, 12)[:2])


def test_undecided_at_the_limit_is_said(against, capsys):
    assert against("run", "--episodes", "9") == 0
    out = capsys.readouterr().out
    assert "the run was still undecided after 9 of at most 9 episodes" in out
    assert "verdict              cannot tell" in out
    assert "9 episodes did not suffice; this does not show that the policies are equal" in out
    sequential = sequential_of("run")
    assert (sequential.decided, sequential.saved, sequential.findings.verdict) == (False, 0, "cannot tell")
    assert compare.main(["zero", "run"]) == 2


def test_its_own_seeds_may_be_named_and_begin_in_the_middle_of_no_plan(zero, sometimes, capsys):
    flags = ["--model", sometimes, *POINT, "--until-decided", "--vs", zero]
    assert rollout.main([*flags, "--seed", str(BASE), "--episodes", "20", "--output", "run"]) == 0
    assert sequential_of("run").limit == 20
    for wrong in (["--seed", str(BASE + 1)], ["--seeds", str(BASE + 1), str(BASE)], ["--episodes", "61"]):
        capsys.readouterr()
        assert rollout.main([*flags, *wrong, "--output", "other"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        first_of = f"expected the episodes of zero, 60 episodes, seeds {BASE} to {BASE + 59}, or the first of them"
        assert first_of in line


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--until-decided"], "expected --vs with --until-decided"),
        (["--vs", "zero"], "expected --until-decided or --detect with --vs"),
        (["--until-decided", "--vs", "nowhere"], "expected a run folder with run.json, got nowhere"),
        (["--until-decided", "--vs", "zero", "--until-width", "5pp"], "--until-width or --until-decided, got both"),
        (["--until-width", "5pp", "--vs", "zero"], "expected --until-width or --vs, got both"),
        (["--detect", "10pp", "--episodes", "50"], "expected --detect or --episodes, got both"),
        (["--detect", "10pp", "--seeds", "1", "2"], "expected --detect or --seeds, got both"),
        (["--detect", "10pp", "--until-width", "5pp"], "expected --detect or --until-width, got both"),
        (["--detect", "0.1pp"], "20000 episodes do not suffice to detect a difference of 0.1 pp"),
        (["--detect", "60pp", "--vs", "torn"], "expected a complete run with --vs"),
        (["--until-width", "0.1pp"], "give the largest number of episodes with --episodes"),
        (["--until-decided", "--vs", "torn"], "expected a complete run with --vs, torn has 59 of 60 episodes"),
        (["--until-decided", "--vs", "zero"], "environment: A has Test/Point-v0, B has SimScale/PickPlace-v0"),
    ],
)
def test_contradictions_are_one_line(zero, capsys, flags, message):
    shutil.copytree(zero, "torn")
    path = Path("torn", EPISODES_FILE)
    path.write_bytes(path.read_bytes()[:-5])
    assert rollout.main(["--model", "zero", "--env", "pick-place", *flags, "--output", "run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not Path("run").exists()


def test_a_reference_with_errors_is_refused_before_anything_depends_on_them(against, capsys):
    path = Path("zero", EPISODES_FILE)
    path.write_text(path.read_text().replace('"status": "failure"', '"status": "error"', 2))
    assert against("run") == 2
    assert "2 episodes of zero are errors, and no decision may depend on them" in capsys.readouterr().err


def test_another_success_is_another_task(zero, capsys):
    flags = ["--model", "zero", *POINT, "--no-terminate-on-success", "--until-decided", "--vs", zero]
    assert rollout.main(flags) == 2
    message = "not comparable with zero (A) of --vs: success ends the episode: A has True, B has False"
    assert message in capsys.readouterr().err


def test_until_a_width(capsys):
    flags = ["--model", "zero", *SEEDS, "--until-width", "20pp"]
    assert rollout.main([*flags, "--output", "run"]) == 0
    out = capsys.readouterr().out
    n = next(n for n in range(60) if confidence_sequence(0, n).high <= 0.2)
    plan = f"at most 298 episodes, seeds {BASE} to {BASE + 297}"
    assert f"{plan}, until the 95% interval is at most 20.0 pp wide" in out
    width = f"{100 * confidence_sequence(0, n).high:.1f}"
    assert f"interval {width} pp wide, 20.0 pp wanted; the run ended after {n} of at most 298" in out
    assert f"{298 - n} saved" in out
    assert sequential_of("run").saved == 298 - n
    assert rollout.main([*flags, "--episodes", "5", "--output", "few"]) == 0
    assert "20.0 pp wanted; the run was still undecided after 5 of at most 5 episodes" in capsys.readouterr().out


@pytest.mark.parametrize("workers", ["1", "2"])
def test_of_dropped_episodes_no_video_trace_recording_or_receipt_is_left(sometimes, workers):
    """The third ends before the second, and the second is the last that counts."""
    pytest.importorskip("rerun")
    flags = ["--model", sometimes, *POINT, "--seeds", str(BASE + 1), str(BASE + 2), str(BASE + 5)]
    shape = ["--workers", workers, "--num-envs", "3", "--video", "3", "--rerun", "3"]
    assert rollout.main([*flags, *shape, "--until-width", "0.9", "--output", "run"]) == 0
    assert sequential_of("run").episodes == 2
    assert [receipt.episode_index for receipt in read_receipts(Path("run"))] == [0, 1]
    files = sorted(str(path.relative_to("run")) for path in Path("run").rglob("*") if path.is_file())
    assert files == [
        EPISODES_FILE,
        "receipts.json",
        "rerun/episode_000000.rrd",
        "rerun/episode_000001.rrd",
        "run.json",
        "traces/episode_000000.npz",
        "traces/episode_000001.npz",
        "videos/episode_000000.mp4",
        "videos/episode_000001.mp4",
    ]


def lines(folder):
    path = Path(folder, EPISODES_FILE)
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.parametrize(("workers", "at"), [("1", 7), ("2", 30)])
def test_a_killed_run_resumes_to_the_bytes_of_an_uninterrupted_one(against, sometimes, workers, at):
    """With two workers, all episodes but the hanging one go on, far beyond where the run will end."""
    Path("hang").touch()
    flags = [*POINT, "--until-decided", "--vs", "zero", "--num-envs", "1", "--workers", workers]
    command = [sys.executable, "-m", "eval.rollout", "--model", sometimes, *flags, "--output", "killed"]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while lines("killed") < at:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert lines("killed") >= at
    Path("hang").unlink()
    assert against("killed", "--resume") == 0
    assert against("whole") == 0
    assert read_bytes("killed") == read_bytes("whole")
    assert lines("whole") == N


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_resumed_run_that_is_decided_runs_nothing_and_drops_the_rest(against, sometimes, workers, capsys):
    against("run")
    whole = read_bytes("run")
    rollout.main(["--model", sometimes, *SEEDS, "--episodes", "20", "--output", "more"])
    for result in read_results(Path("more", EPISODES_FILE))[N + 2 :]:
        append_result(Path("run", EPISODES_FILE), result)
    for name in ("asked", "loaded"):
        Path(name).unlink()
    capsys.readouterr()
    assert against("run", "--resume", "--workers", workers) == 0
    assert "run: complete, nothing to resume" in capsys.readouterr().out
    assert read_bytes("run") == whole
    assert sequential_of("run").saved == 48
    assert not Path("asked").exists()
    assert set(Path("loaded").read_text().split()) == {str(os.getpid())}  # no worker was started


def test_an_interrupted_run_counts_its_first_episodes_only(against, capsys):
    """The episodes 0, 3 and 6 fail, after 30 steps; those beside it succeed, one after the other."""
    Path("interrupt").touch()
    assert against("run", "--num-envs", "3") == 130
    assert lines("run") == 4
    assert (sequential_of("run").episodes, sequential_of("run").decided) == (0, False)
    assert RunRecord.read(Path("run")).summary.confidence_sequence_95 == (0.0, 1.0)
    out = capsys.readouterr().out
    assert "incomplete           0 of 60 planned episodes count" in out
    assert "verdict" not in out
    assert compare.main(["zero", "run"]) == 3
    (command,) = re.findall(r"^continue with +python -m eval.rollout (.*)$", out, re.MULTILINE)
    Path("interrupt").unlink()
    assert rollout.main(shlex.split(command)) == 0
    assert lines("run") == N


def test_another_reference_is_refused_on_resume(against, capsys):
    against("run")
    path = Path("zero", EPISODES_FILE)
    path.write_text(path.read_text().replace('"failure"', '"success"', 1))
    assert against("run", "--resume") == 2
    assert re.search(r'  vs: was "[0-9a-f]{64}", is "[0-9a-f]{64}"', capsys.readouterr().err)


def test_a_moved_reference_is_the_same(against, sometimes):
    against("run")
    whole = read_bytes("run")
    Path("zero").rename("moved")
    flags = ["--model", sometimes, *POINT, "--until-decided", "--vs", "moved"]
    assert rollout.main([*flags, "--output", "run", "--resume"]) == 0
    assert read_bytes("run") == whole
    assert sequential_of("run").vs.folder == "moved"


def test_compare_takes_such_runs_and_says_so(against, capsys):
    against("run")
    capsys.readouterr()
    assert compare.main(["zero", "run"]) == 0
    out = capsys.readouterr().out
    assert f"episodes             Test/Point-v0, 12 episodes, seeds {BASE} to {BASE + 11}" in out
    assert "sequential           B ended after 12 of at most 60 episodes; 48 saved" in out
    assert "compared             the first 12 episodes, which both have" in out
    assert compare.main(["zero", "run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["p_value"] is found["newcombe_95"] is found["smallest_difference"] is found["b"]["wilson_95"] is None
    assert found["inverse_e_value"] == pytest.approx(9 / 256)
    assert found["a"]["sequential"] is None
    assert found["b"]["sequential"]["saved"] == 48


@pytest.mark.parametrize("rate", [None, 0.0, 2 / 3])
def test_detect_plans_what_the_test_needs(sometimes, capsys, rate):
    vs = []
    if rate is not None:
        model = "zero" if rate == 0 else sometimes
        assert rollout.main(["--model", model, *SEEDS, "--episodes", "30", "--output", "a"]) == 0
        vs = ["--vs", "a"]
    capsys.readouterr()
    assert rollout.main(["--model", "zero", *SEEDS, "--detect", "30pp", *vs, "--output", "run"]) == 0
    out = capsys.readouterr().out
    record = RunRecord.read(Path("run"))
    n = record.resolved.episodes
    pairs = {None: [(0.35, 0.65)], 0.0: [(0, 0.3)]}.get(rate, [(2 / 3, 2 / 3 - 0.3), (2 / 3, 2 / 3 + 0.3)])
    powers = [[mcnemar_power(m, 0.3, independent_discordance(*pair)) for pair in pairs] for m in (n, n - 1)]
    assert min(powers[0]) >= 0.8 > min(powers[1])
    around = (
        "in the hardest case (success rates around 50 %)"
        if rate is None
        else f"that succeeds like a, {100 * rate:.1f} %"
    )
    assert f"{n} episodes detect a difference of 30.0 pp with 80 % power" in out
    assert around in out
    assert ("run that policy on the same seeds" in out) == (rate is not None)
    assert record.sequential is None
    assert record.summary.wilson_95


def test_a_difference_that_no_rate_has_is_refused(zero, capsys):
    path = Path(zero, EPISODES_FILE)
    path.write_text(path.read_text().replace('"status": "failure"', '"status": "success"', 30))
    assert rollout.main(["--model", "zero", *POINT, "--detect", "60pp", "--vs", zero]) == 2
    assert "no rate differs by 60.0 pp from that of --vs; give a smaller --detect" in capsys.readouterr().err


def test_without_choices_there_are_fifty_episodes_from_seed_0():
    assert plan_run(rollout.RolloutConfig(model="zero").request()).specs == plan_episodes(50, 0)


def test_the_run_that_it_names_can_be_read(against):
    against("run")
    run = read_run(Path("run"))
    assert (run.is_complete, run.planned, len(run.results)) == (True, 12, 12)


# Workers


@dataclass(frozen=True, kw_only=True)
class Burst(WorkerJob):
    """Sends two results at once, the second episode first, and then never asks for another."""

    def run(self, plan, reporter, pulse):
        for spec in reversed(list(islice(plan, 2))):
            reporter.on_episode_end(0, run_folders.episode(spec.episode_index, spec.seed, "+"))
        Path("sent").touch()
        time.sleep(60)


class Diary(Observer):
    """Has seen enough after the first result, which it looks at until the worker has sent both."""

    def __init__(self):
        self.told = []

    def on_episode_end(self, slot, result):
        self.told.append(result.episode_index)
        while not Path("sent").exists():
            time.sleep(0.01)
        self.has_seen_enough = True

    def on_run_end(self, results):
        self.told.append([result.episode_index for result in results])


def test_a_result_that_was_sent_before_enough_was_seen_comes_before_the_end_of_the_run():
    """After it, a line would be added to a record that is complete."""
    diary = Diary()
    results = run_in_workers(Burst(num_envs=2, terminate_on_success=True), plan_episodes(5), 1, [diary])
    assert [result.episode_index for result in results] == [0, 1]
    assert diary.told == [1, 0, [0, 1]]


def test_episodes_that_no_worker_can_run_end_the_run_instead_of_waiting_for_ever():
    with pytest.raises(RuntimeError, match="5 episodes were lost"):
        run_in_workers(Burst(num_envs=2, terminate_on_success=True), plan_episodes(5), 0, [])
