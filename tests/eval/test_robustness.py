"""The command: plan, run folders, resuming, expert, further policies, options, pictures, page, comparison."""

import json
import shlex
from pathlib import Path

import pytest
from PIL import Image
from point_world import PointEnv
from run_folders import LIGHT, MASS, SPEC, changed, make_axis

from envs.registration import find_environment
from eval import compare, record, robustness, rollout
from eval.battery.reading import read_battery
from eval.episodes.battery import CONTROL, Battery
from eval.execution.battery import BatteryRequest, battery_parts
from eval.execution.battery_frames import write_frames
from eval.probing.probe_axes import axes_of
from eval.report import __main__ as report
from eval.runs.log_file import read_results
from eval.runs.media_paths import frame_path
from eval.runs.record import RunRecord
from simscaleai.errors import SimScaleError

POINT = ["--model", "point_world:Homing", "--env", "point"]
FEW = [*POINT, "--episodes", "8", "--axes", "wind", "--levels", "0", "3", "5"]


pytestmark = pytest.mark.usefixtures("workdir", "point_package")


def run(folder, *flags, words=FEW):
    assert robustness.main([*words, "--output", folder, *flags]) == 0
    return Path(folder)


def last_words(out, name):
    """Return the arguments of the command that the row `name` shows."""
    return shlex.split(next(line for line in out.splitlines() if line.startswith(name)))[4:]


def request(**settings):
    defaults = {"model": ("a",), "axes": (), "levels": (), "pairs": None, "sweep": (), "policy_option": ()}
    return BatteryRequest(**defaults | {"quick": False} | settings)


SCENE = changed(environment={"axes": (LIGHT, make_axis("light.colour"), MASS)}).environment
OF_PROBES = set(axes_of(SPEC)) - {axis.name for axis in SPEC.axes}
ORDERED = changed(environment={"axes": (LIGHT, make_axis("camera.aim"), make_axis("light.colour"), MASS)}).environment
SEES, BLIND = SPEC.needs("state", cameras={"front": (96, 96)}), SPEC.needs("state")


def test_the_control_runs_once_and_its_lines_are_those_of_a_plain_run():
    results = read_results(run("a") / "episodes.jsonl")
    assert [result.arm for result in results] == [None, "wind=3", "wind=5"] * 8
    assert {result.perturbation and result.perturbation["wind"] for result in results} == {None, 0.03, 0.05}
    assert rollout.main([*POINT, "--episodes", "8", "--output", "plain"]) == 0
    control = [line.split(", ", 1)[1] for line in Path("a/episodes.jsonl").read_text().splitlines()[::3]]
    assert control == [line.split(", ", 1)[1] for line in Path("plain/episodes.jsonl").read_text().splitlines()]
    assert RunRecord.read(Path("a")).summary.episodes == 8


@pytest.mark.parametrize("shape", [["--num-envs", "2"], ["--workers", "2", "--num-envs", "3"]])
def test_a_battery_gives_the_same_bytes_for_any_shape(shape):
    assert (run("a") / "episodes.jsonl").read_bytes() == (run("b", *shape) / "episodes.jsonl").read_bytes()


def test_a_battery_is_resumed_where_it_was_killed():
    whole = (run("a") / "episodes.jsonl").read_bytes()
    Path("a/episodes.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:7]))
    run("a", "--resume")
    assert Path("a/episodes.jsonl").read_bytes() == whole
    assert robustness.main([*FEW, "--output", "a", "--resume", "--levels", "1"]) == 2


def test_an_interrupted_battery_says_how_to_continue(monkeypatch, capsys):
    whole = (run("a") / "episodes.jsonl").read_bytes()
    ended = []

    def interrupt(self, slot, result):
        ended.append(result)
        if len(ended) == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(robustness.Progress, "on_episode_end", interrupt)
        assert robustness.main([*FEW, "--output", "b"]) == 130
    out = capsys.readouterr().out
    words = shlex.split(next(line for line in out.splitlines() if line.startswith("continue with")))[5:]
    assert robustness.main(words) == 0
    assert Path("b/episodes.jsonl").read_bytes() == whole


def test_the_rows_hold_n_interval_control_ceiling_and_a_command_that_works(capsys):
    run("a")
    out = capsys.readouterr().out
    assert "control              8/8   100.0 %   95 % interval [67.6, 100.0] (Wilson), 8 episodes, seeds 0 to 7" in out
    assert "no ceiling: this environment has no expert" in out
    assert "at level 3 5 (0.03 0.05 m)" in out
    assert "not covered" in out
    replay, film = (last_words(out, name) for name in ("replay", "film"))
    assert "--perturb" in replay
    assert rollout.main(replay) == 0
    assert record.main(film) == 0
    assert len(list(Path("a/films").iterdir())) == 1


def test_a_film_is_of_the_policy_with_its_options(capsys, monkeypatch):
    run("a", "--policy-option", "n_action_steps=1")
    given = []
    build = record.build_policy
    monkeypatch.setattr(record, "build_policy", lambda *args: given.append(build(*args)) or given[0])
    assert record.main(last_words(capsys.readouterr().out, "film")) == 0
    assert given[0].options["n_action_steps"] == 1


def test_the_json_is_that_of_the_report(capsys):
    run("a", "--json")
    data = json.loads(capsys.readouterr().out)
    assert data["axes"][0]["levels"]["5"]["n"] == 8
    assert report.main(["a", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["batteries"][0]["axes"] == data["axes"]


def test_the_page_holds_pictures_of_control_and_levels():
    page = (run("a") / "report.html").read_text()
    assert "no ceiling: this environment has no expert" in page.lower()
    assert "What this battery does not show" in page
    assert report.main(["a", "--output", "again.html"]) == 0
    assert Path("again.html").read_text() == page


@pytest.mark.parametrize("error", [RuntimeError("no window"), SimScaleError("no window")])
def test_findings_do_not_need_pictures(error, monkeypatch, capsys):
    def fail(*_):
        raise error

    monkeypatch.setattr(PointEnv, "frame", fail)
    page = (run("a") / "report.html").read_text()
    assert "What this battery does not show" in page
    out = capsys.readouterr().out
    assert "warning: the report lacks pictures: " in out
    assert "no window" in out
    assert "largest drop" in out


def test_pictures_of_cameras_of_several_sizes_stand_one_below_the_other(tmp_path):
    registration = find_environment("reach")
    spec = registration.offer()
    needs = spec.needs("state", cameras={"front": (24, 40), "wrist": (16, 16)})
    write_frames(tmp_path, registration, needs, Battery(axes=spec.axes[:1], levels=(5,)), 3_000_000_000)
    assert Image.open(frame_path(tmp_path, CONTROL)).size == (40, 40)


def test_several_policies_are_compared_on_the_same_starts(capsys):
    run("a", words=["--model", "point_world:Homing", "zero", *FEW[2:]])
    out = capsys.readouterr().out
    assert "verdict              B is worse than A over all perturbed arms" in out
    assert [other.name for other in read_battery(Path("a")).policies] == ["zero"]
    assert "Comparison" in Path("a/report.html").read_text()


def test_other_options_run_on_the_control(capsys):
    run("a", "--sweep", "n_action_steps=1,2,1")
    options = read_battery(Path("a")).options
    assert list(options) == ["n_action_steps=1", "n_action_steps=2"]
    assert [run.run.record.policy.options["n_action_steps"] for run in options.values()] == [1, 2]
    assert {result.arm for run in options.values() for result in run.run.results} == {None}
    assert "against the control" in capsys.readouterr().out


def test_two_batteries_are_compared_by_arm_and_seed(capsys):
    run("a")
    run("b", words=["--model", "zero", *FEW[2:]])
    assert compare.main(["a", "b"]) == 1
    out = capsys.readouterr().out
    assert "wind                 A" in out
    assert "overall" in out
    assert compare.main(["a", "b", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["axes"]["wind"]["rate_b"] < 0.2


def test_a_battery_is_not_compared_with_a_plain_run(capsys):
    run("a")
    assert rollout.main([*POINT, "--episodes", "8", "--output", "plain"]) == 0
    for pair in (["a", "plain"], ["plain", "a"]):
        assert compare.main(pair) == 3
        assert "is a robustness battery; compare it with another one" in capsys.readouterr().err
    assert report.main(["a", "plain"]) == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--axes", "wnid"], "Did you mean 'wind'?"),
        (["--levels", "7"], "expected --levels from 0 to 5, got 7"),
        (["--levels", "0"], "expected a level above 0"),
        (["--pairs", "2"], "expected pairs at one of the levels 3 5"),
        (["--sweep", "n_action_steps"], "expected --sweep NAME=VALUE,VALUE"),
        (["--sweep", "n_action_steps=0"], "expected n_action_steps of at least 1"),
        (["--workers", "0"], "expected --workers of at least 1"),
        (["--resume"], "expected --output with --resume"),
    ],
)
def test_mistakes_are_said_in_one_line_before_anything_runs(flags, message, capsys):
    assert robustness.main([*FEW, *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("runs").exists()


def of_scene(battery):
    return [axis.name for axis in battery.axes if axis.name not in OF_PROBES]


def test_the_expert_runs_only_what_reaches_it():
    parts = battery_parts(request(), SCENE, [SEES])
    assert [(part.folder, part.model) for part in parts] == [(Path(), "a"), (Path("expert"), "scripted")]
    assert [of_scene(part.battery) for part in parts] == [
        ["light.intensity", "light.colour", "object.mass"],
        ["object.mass"],
    ]
    assert {"image.blur", "state.noise", "action.noise", "latency"} <= {axis.name for axis in parts[0].battery.axes}
    of_expert = {axis.name for axis in parts[1].battery.axes}
    assert of_expert - {"object.mass"} == {"state.noise", "action.noise", "latency"}


def test_an_axis_is_not_paired_with_itself_in_one_camera():
    axes = ("image.blur", "image.blur.front", "image.jpeg")
    (tested, _) = battery_parts(request(axes=axes, pairs=2), SCENE, [SEES])
    assert [arm.name for arm in tested.battery.pairs] == [
        "image.blur=2 image.jpeg=2",
        "image.blur.front=2 image.jpeg=2",
    ]


def test_axes_without_an_effect_on_a_policy_are_left_out_and_named():
    (tested, _) = battery_parts(request(), SCENE, [BLIND])
    assert of_scene(tested.battery) == ["object.mass"]
    untested = [name for name in tested.battery.untested if name not in OF_PROBES]
    assert untested == ["light.intensity", "light.colour"]
    assert {"image.blur", "feed.frozen", "words.typos"} <= set(tested.battery.untested)


def test_policies_without_a_common_axis_are_refused():
    with pytest.raises(SimScaleError, match="for a and b, got none; test them apart"):
        battery_parts(request(model=("a", "b"), axes=("light",)), SCENE, [SEES, BLIND])


def test_a_quick_battery_has_the_first_axis_of_each_group_and_two_levels():
    (tested, _) = battery_parts(request(quick=True), ORDERED, [SEES])
    assert of_scene(tested.battery) == ["light.intensity", "camera.aim", "object.mass"]
    groups = [axis.group for axis in tested.battery.axes]
    assert len(set(groups)) == len(groups)
    assert tested.battery.levels == (2, 4)
