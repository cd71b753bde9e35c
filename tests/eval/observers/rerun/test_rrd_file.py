"""Recordings for Rerun, read back with Rerun's own reader: they hold what the trace holds and what was drawn."""

import sys
from dataclasses import replace

import numpy as np
import point_world
import pytest

from eval.episodes.observer import Observer
from eval.episodes.plan import plan_episodes
from eval.episodes.probe import Probe
from eval.observers.rerun.recorder import PICTURE_SIZE, RerunRecorder
from eval.observers.rerun.rrd_file import import_rerun
from eval.observers.trace import TraceRecorder
from eval.runs.media_paths import rerun_path, rerun_paths, trace_path, trace_paths
from simscaleai.contract import Needs
from simscaleai.errors import SimScaleError

pytest.importorskip("rerun", reason="pip install -e '.[rerun]'")

from rrd_recording import Recording

LOOKING = point_world.SPEC.needs("position", "goal", cameras={"front": (4, 6)})


class Pictures(Observer):
    """Keeps what the environment draws, and the images that the policy gets, by episode."""

    def __init__(self):
        self.drawn, self.seen, self.running = {}, {}, {}

    def on_run_start(self, env):
        self.env = env

    def on_episode_start(self, slot, spec, begun):
        self.running[slot] = spec.episode_index
        self.seen[spec.episode_index] = []
        self.drawn[spec.episode_index] = [self.frames(slot)]

    def on_look(self, slots, observation):
        for row, slot in enumerate(slots.tolist()):
            images = {camera: observation[camera][row].copy() for camera in observation if observation[camera].ndim > 2}
            self.seen[self.running[slot]].append(images)

    def on_step(self, step):
        for slot in step.slots.tolist():
            self.drawn[self.running[slot]].append(self.frames(slot))

    def frames(self, slot):
        return {camera: self.env.frame(slot, camera, PICTURE_SIZE) for camera in self.env.spec.film_cameras}


class Halved(Probe):
    def act(self, actions, slots):
        return 0.5 * actions


def check(recording, trace, pictures, index, spec):
    """Compares a recording with the trace of the episode, and with what was drawn and seen."""
    steps = len(trace["reward"])
    for name in ("executed", "intended"):
        np.testing.assert_array_equal(recording.numbers(f"/action/{name}"), trace[f"{name}_action"])
        assert recording.steps[f"/action/{name}"] == list(range(steps))
    assert recording.values["/action/executed"]["SeriesLines:names"] == [list(spec.action.names)]
    for key in [name.removeprefix("observation.") for name in trace if name.startswith("observation.")]:
        features = spec.vectors[key].features
        parts = [recording.numbers(f"/observation/{key}/{feature.name}") for feature in features]
        np.testing.assert_array_equal(np.hstack(parts), trace[f"observation.{key}"])
    for name in ("reward", "success"):
        np.testing.assert_array_equal(recording.numbers(f"/{name}")[:, 0], trace[name])
        assert recording.steps[f"/{name}"] == list(range(1, steps + 1))
        assert recording.times[f"/{name}"] == pytest.approx(np.arange(1, steps + 1) / spec.control_hz)
    np.testing.assert_array_equal(recording.arrays("/chunk"), trace["chunks"])
    assert recording.steps["/chunk"] == trace["look_steps"].tolist()
    for camera in spec.film_cameras:
        drawn = [each[camera] for each in pictures.drawn[index]]
        np.testing.assert_array_equal(recording.pictures(f"/camera/{camera}"), drawn)
        assert recording.steps[f"/camera/{camera}"] == list(range(steps + 1))
    for camera in pictures.seen[index][0]:
        np.testing.assert_array_equal(
            recording.pictures(f"/look/{camera}"), [each[camera] for each in pictures.seen[index]]
        )
        assert recording.steps[f"/look/{camera}"] == trace["look_steps"].tolist()
    assert recording.has_layout


@pytest.fixture
def record(run_point, tmp_path):
    """Runs so many episodes in 3 slots and records those in `chosen`; returns results, recordings, traces, pictures."""

    def run(episodes, chosen, *, raises=None, **options):
        def disturb(env, policy):
            policy.raises = raises or {}

        recorder = RerunRecorder(rerun_paths(tmp_path / "rerun", chosen), LOOKING, "homing")
        traces, pictures = TraceRecorder(trace_paths(tmp_path / "traces", chosen), LOOKING), Pictures()
        observers, probes = [recorder, traces, pictures], [Halved()]
        plan = options.pop("plan", None) or plan_episodes(episodes)
        results, _, _ = run_point(plan, 3, observers=observers, probes=probes, disturb=disturb, cameras=True, **options)
        assert sorted(path.name for path in (tmp_path / "rerun").iterdir()) == [f"episode_{i:06d}.rrd" for i in chosen]
        recordings = [Recording(rerun_path(tmp_path / "rerun", index)) for index in chosen]
        found = [dict(np.load(trace_path(tmp_path / "traces", index), allow_pickle=False)) for index in chosen]
        return results, recordings, found, pictures

    return run


def test_a_recording_repeats_the_trace_and_the_pictures(record):
    results, recordings, traces, pictures = record(5, [0, 3])
    for index, recording, trace in zip([0, 3], recordings, traces, strict=True):
        check(recording, trace, pictures, index, point_world.SPEC)
        assert recording.texts("/instruction", "TextDocument") == [results[index].instruction]
        assert recording.texts("/event") == ["success", "end: success"]
        assert recording.steps["/event"] == [results[index].steps] * 2
        assert recording.about == {
            "policy": "homing",
            "index": index,
            "seed": str(index),
            "instruction": results[index].instruction,
            "outcome": "success",
        }
        assert recording.values["/observation/goal/goal_position"]["SeriesLines:names"] == [
            ["goal_position.0 [m]", "goal_position.1 [m]"]
        ]
    assert len({recording.store.recording_id for recording in recordings}) == 2  # so that the viewer keeps them apart


def test_recording_changes_no_result(record, run_point):
    results, *_ = record(4, [0, 1])
    assert results == run_point(plan_episodes(4), 2, cameras=True, probes=[Halved()])[0]


def test_an_episode_without_a_step_has_its_first_picture(record):
    results, (recording,), *_ = record(2, [1], raises={1: 0})
    assert results[1].failure == "policy_exception"
    assert recording.steps["/camera/front"] == [0]
    assert recording.texts("/event") == ["end: policy_exception"]
    assert "Scalars:scalars" not in recording.values["/reward"]


def test_an_episode_that_starts_again_is_recorded_once(record):
    results, (recording,), (trace,), _ = record(3, [1], raises={0: 1})
    assert len(recording.steps["/reward"]) == len(trace["reward"]) == results[1].steps


def test_texts_of_any_kind_can_be_recorded(record):
    instruction = "把方块 \udcff\n# /a b"
    plan = [replace(spec, options={"instruction": instruction}) for spec in plan_episodes(1)]
    _, (recording,), *_ = record(1, [0], plan=plan)
    assert recording.texts("/instruction", "TextDocument") == ["把方块 \\udcff\n# /a b"]


def test_without_episodes_nothing_is_needed(monkeypatch, run_point, tmp_path):
    monkeypatch.setitem(sys.modules, "rerun", None)
    recorder = RerunRecorder({}, LOOKING, "homing")
    assert recorder.needs == Needs()
    run_point(plan_episodes(1), 1, observers=[recorder])


@pytest.mark.parametrize("found", [None, type(sys)("rerun")])
def test_a_missing_package_is_told_with_the_command_that_installs_it(monkeypatch, found):
    """Another package is called `rerun`, too."""
    monkeypatch.setitem(sys.modules, "rerun", found)
    with pytest.raises(
        SimScaleError, match=r"^--rerun needs the package rerun-sdk \(.*\): pip install 'simscaleai\[rerun\]'$"
    ):
        import_rerun()


def test_a_switch_that_would_leave_recordings_empty_is_told(monkeypatch):
    monkeypatch.setenv("RERUN", "off")
    with pytest.raises(SimScaleError, match=r"^RERUN=off switches recordings off; unset it, or leave out --rerun$"):
        import_rerun()
