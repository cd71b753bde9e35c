"""A policy or an environment shares the process: it may print, change the working directory, or call sys.exit."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import point_world
import pytest
from run_folders import changed, write_run

from envs.registration import register_environment
from eval import collect, record, rollout, validate
from eval.report import __main__ as report

ROOT = Path(__file__).resolve().parents[3]
REACH = ["--env", "reach", "--episodes", "2"]
POINT = ["--env", "point", "--episodes", "2"]


@pytest.fixture(autouse=True)
def workdir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def policy(workdir):
    """Writes the module `name` with the policies A and B, which run `deed` in each method of `where`; returns A."""

    def write(name, deed, where=("import", "__init__", "reset", "predict", "close")):
        lines = {
            place: deed if place in where else "pass" for place in ("import", "__init__", "reset", "predict", "close")
        }
        (workdir / f"{name}.py").write_text(
            "import os, signal, sys, time\nfrom policies.scripted.controls import ZeroPolicy\n\n"
            f"{lines['import']}\n\n\n"
            "class A(ZeroPolicy):\n"
            f"    def __init__(self, spec):\n        super().__init__(spec)\n        {lines['__init__']}\n\n"
            f"    def reset(self, *start):\n        {lines['reset']}\n\n"
            f"    def predict(self, *given):\n        {lines['predict']}\n        return super().predict(*given)\n\n"
            f"    def close(self):\n        {lines['close']}\n\n\n"
            "class B(A):\n    pass\n"
        )
        return f"{name}:A"

    return write


def start(*words, **options):
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.getcwd()}"}
    return subprocess.run(
        [sys.executable, "-m", *words], env=environment, capture_output=True, text=True, check=False, **options
    )


@pytest.mark.parametrize(
    "command",
    [
        "eval.rollout --model {a}",
        "eval.rollout --model {a} --workers 2",
        "eval.collect --model {a} --cameras --keep-failures",
        "eval.validate {a} {b}",
    ],
)
def test_standard_output_is_one_json_object_whatever_a_policy_prints(policy, command):
    """Also what it writes to the descriptor, as libraries in C do, and what it prints when the interpreter exits."""
    at_exit = "import atexit; atexit.register(print, 'bye from Python'); atexit.register(os.write, 1, b'bye from C\\n')"
    loud = policy("loud", f"print('hello from Python'); os.write(1, b'hello from C\\n'); {at_exit}")
    done = start(*command.format(a=loud, b="loud:B").split(), *REACH, "--json", "--output", "new")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["folder"] == "new"
    said = {"hello from Python", "hello from C", "bye from Python", "bye from C"}
    assert said <= set(done.stderr.splitlines())


def test_a_report_for_scripts_is_one_json_object_whatever_an_environment_prints(point_environment, capsys):
    class Loud(point_world.PointEnv):
        def reset(self, slots, starts):
            print("hello")
            return super().reset(slots, starts)

    register_environment(replace(point_environment, make=Loud))
    environment = {name: getattr(point_world.SPEC, name) for name in point_world.SPEC.__dataclass_fields__}
    write_run(Path("r"), "+-", record=changed(environment=environment))
    assert report.main(["r", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert "goal_position" in json.loads(out)["runs"][0]["episodes"][0]
    assert err == "hello\n"


COMMANDS = {
    "rollout": (rollout.main, "--model {a}", "run.json episodes.jsonl receipts.json"),
    "rollout with a video": (
        rollout.main,
        "--model {a} --video 1",
        "run.json episodes.jsonl receipts.json videos traces",
    ),
    "rollout in workers": (rollout.main, "--model {a} --workers 2", "run.json episodes.jsonl receipts.json"),
    "rollout until decided": (
        rollout.main,
        "--model {a} --until-decided --vs other",
        "run.json episodes.jsonl receipts.json",
    ),
    "collect": (collect.main, "--model {a} --cameras --keep-failures", "dataset.json episodes.jsonl episodes"),
    "collect with an expert": (
        collect.main,
        "--model zero --expert {a} --cameras",
        "dataset.json episodes.jsonl episodes",
    ),
    "record": (record.main, "--model {a} --size 32", "episode_000000.mp4 episode_000001.mp4"),
    "validate": (validate.main, "{a} {b}", "validation.json 1 2 fresh"),
}


@pytest.mark.parametrize(
    ("command", "where"),
    [
        *(("rollout", where) for where in ("import", "__init__", "reset", "predict", "close")),
        *((command, where) for command in [*COMMANDS][1:] for where in ("__init__", "predict")),
    ],
)
@pytest.mark.usefixtures("point_package")
def test_files_are_where_the_user_said_wherever_a_policy_goes(policy, workdir, capsys, command, where):
    Path("elsewhere").mkdir()
    wanderer = policy("wanderer", f"os.chdir({str(workdir / 'elsewhere')!r})", [where])
    main, words, files = COMMANDS[command]
    if "other" in words:
        assert rollout.main(["--model", "zero", *POINT, "--output", "other"]) == 0
    capsys.readouterr()
    flags = ["--env", "point", "--seeds", "0", "1"] if main is record.main else POINT
    try:
        assert main([*words.format(a=wanderer, b="wanderer:B").split(), *flags, "--output", "a/new"]) == 0
    finally:
        sys.modules.pop("wanderer", None)
    assert sorted(path.name for path in Path("a/new").iterdir()) == sorted(files.split())
    assert list(Path("elsewhere").iterdir()) == []
    assert Path.cwd() == workdir
    out = capsys.readouterr().out
    assert " a/new" in out
    assert str(workdir / "a") not in out


def test_a_run_without_an_output_is_where_the_command_was_started(policy, workdir):
    Path("elsewhere").mkdir()
    wanderer = policy("wanderer", "os.chdir('elsewhere')", ["__init__"])
    assert rollout.main(["--model", wanderer, *REACH]) == 0
    assert Path("runs/wanderer.A-reach-001/run.json").exists()


@pytest.mark.slow
def test_workers_find_a_checkpoint_by_its_relative_path(policy, make_checkpoint):
    make_checkpoint("bc")
    Path("elsewhere").mkdir()
    go = policy("go", "os.chdir('elsewhere')", ["__init__"])
    flags = ["--model", "./bc", "--expert", go, "--cameras", "--workers", "2", "--output", "d"]
    assert collect.main([*REACH, *flags]) == 0
    assert Path("d/dataset.json").exists()


def test_a_message_has_paths_as_the_user_typed_them(policy, capsys):
    assert rollout.main(["--model", "zero", *REACH, "--output", "a/b"]) == 0
    assert rollout.main(["--model", "random", *REACH, "--output", "a/b", "--resume"]) == 2
    assert "cannot resume a/b, " in capsys.readouterr().err


@pytest.mark.parametrize("place", ["import", "__init__", "reset", "predict", "close"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_policy_that_calls_exit_never_makes_a_run_look_like_a_success(policy, capsys, place, workers):
    quitter = policy("quitter", "sys.exit(0)", [place])
    code = rollout.main(["--model", quitter, *REACH, "--workers", workers, "--output", "r"])
    sys.modules.pop("quitter", None)
    if place in ("import", "__init__"):
        assert code == 2
        assert "SystemExit" in capsys.readouterr().err
        assert not Path("r").exists()
        return
    assert code == 0
    failures = json.loads(Path("r/run.json").read_text())["summary"]["failures"]
    assert failures == ({"never_approached": 2} if place == "close" else {"policy_exception": 2})


def test_an_environment_that_calls_exit_is_a_mistake_in_one_line(point_environment, capsys):
    register_environment(replace(point_environment, make=lambda *_: sys.exit(0)))
    assert rollout.main(["--env", "point", "--model", "point_world:Homing", "--output", "r"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: a policy, an environment or a library called sys.exit(0)")
    assert not Path("r").exists()


@pytest.mark.parametrize("place", ["import", "__init__"])
def test_ctrl_c_while_a_policy_loads_ends_the_command_without_a_traceback(policy, place):
    slow = policy("slow", "os.kill(os.getpid(), signal.SIGINT); time.sleep(200)", [place])
    done = start("eval.rollout", "--model", slow, *REACH, "--output", "r", timeout=120)
    assert done.returncode == -signal.SIGINT
    assert done.stderr == ""
    assert not Path("r").exists()


def test_two_runs_at_once_may_make_the_same_missing_parent(policy):
    words = [sys.executable, "-m", "eval.rollout", "--model", "zero", *REACH, "--quiet", "--output"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    runs = [
        subprocess.Popen([*words, f"a/b/{number}"], env=environment, stderr=subprocess.PIPE, text=True)
        for number in range(2)
    ]
    assert [process.communicate()[1] for process in runs] == [""] * 2
    assert sorted(path.name for path in Path("a/b").iterdir()) == ["0", "1"]
