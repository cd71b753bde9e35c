"""`eval.rollout --rerun`: recordings of any environment, in any shape of a run, also of one that was killed."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from eval import rollout
from eval.merging.runs import merge_runs
from eval.runs.log_file import EPISODES_FILE, read_results

pytest.importorskip("rerun", reason="pip install -e '.[rerun]'")

from rrd_recording import Recording

POINT = ["--env", "point", "--model", "point_world:Homing", "--episodes", "4", "--quiet"]


pytestmark = pytest.mark.usefixtures("workdir", "point_package")


def run(name, *flags, words=POINT):
    assert rollout.main([*words, *flags, "--output", name]) == 0
    return Path(name)


def recordings(folder):
    """Returns name to content of each recording of a run."""
    found = {path.name: Recording(path) for path in sorted(Path(folder, "rerun").iterdir())}
    return {name: (recording.steps, recording.values) for name, recording in found.items()}


def without_times(content):
    """Returns the content of recordings without the time of recording."""
    for _, values in content.values():
        values["/__properties"].pop("RecordingInfo:start_time")
    return content


def test_a_run_has_recordings_of_its_first_episodes(capsys):
    folder = run("r", "--rerun", "2", "--json")
    assert sorted(path.name for path in (folder / "rerun").iterdir()) == ["episode_000000.rrd", "episode_000001.rrd"]
    told = json.loads(capsys.readouterr().out)
    assert told["rerun"] == ["r/rerun/episode_000000.rrd", "r/rerun/episode_000001.rrd"]
    assert "--rerun" not in told["replay"]
    plain = run("plain", "--rerun", "0")
    assert (folder / EPISODES_FILE).read_bytes() == (plain / EPISODES_FILE).read_bytes()
    assert not (plain / "rerun").exists()


@pytest.mark.parametrize("shape", [("--num-envs", "1"), ("--workers", "2", "--num-envs", "2")])
def test_the_shape_of_a_run_changes_no_recording(shape):
    expected = run("a", "--rerun", "3")
    folder = run("b", "--rerun", "3", *shape)
    assert (folder / EPISODES_FILE).read_bytes() == (expected / EPISODES_FILE).read_bytes()
    assert without_times(recordings("b")) == without_times(recordings("a"))


def test_a_resumed_run_records_what_is_missing():
    folder = run("r", "--rerun", "3")
    expected = without_times(recordings("r"))
    log, first = folder / EPISODES_FILE, folder / "rerun/episode_000000.rrd"
    before = first.read_bytes()
    log.write_bytes(log.read_bytes().split(b"\n")[0] + b"\n")  # as if the run had been killed after one episode
    (folder / "rerun/episode_000001.rrd").unlink()
    (folder / "rerun/.episode_000002.rrd.1234.tmp").touch()
    run("r", "--rerun", "3", "--resume")
    assert without_times(recordings("r")) == expected
    assert first.read_bytes() == before
    assert rollout.main([*POINT, "--rerun", "4", "--resume", "--output", "r"]) == 2


def test_recordings_of_shards_come_along():
    expected = run("plain", "--rerun", "3")
    for number in ("1", "2"):
        run(f"s{number}", "--rerun", "3", "--shard", f"{number}/2")
    merge_runs([Path("s1"), Path("s2")], Path("whole"))
    assert (Path("whole") / EPISODES_FILE).read_bytes() == (expected / EPISODES_FILE).read_bytes()
    assert without_times(recordings("whole")) == without_times(recordings("plain"))


def test_without_the_package_nothing_is_written(workdir, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rerun", None)
    before = sorted(workdir.iterdir())
    assert rollout.main([*POINT, "--rerun", "1", "--output", "r"]) == 2
    assert rollout.main([*POINT, "--rerun", "-1", "--output", "r"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("pip install 'simscaleai[rerun]'")
    assert second == "error: expected --rerun of at least 0 episodes, got -1"
    assert sorted(workdir.iterdir()) == before


WORLD = """
import gymnasium as gym
import numpy as np


class Drifting(gym.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}
    observation_space = gym.spaces.Box(-9, 9, (2,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.full(2, self.steps, np.float32), 1.0, self.steps == 6, False, {}

    def render(self):
        return np.full((64, 64, 3), 10 * self.steps, np.uint8)


def drawn():
    return Drifting("rgb_array")


def blind():
    return Drifting()
"""


@pytest.mark.parametrize(("name", "cameras"), [("drawn", 1), ("blind", 0)])
def test_a_gymnasium_environment_is_recorded_with_its_pictures_if_it_draws_any(workdir, name, cameras):
    (workdir / "drifting.py").write_text(WORLD)
    words = ["--env", f"drifting.py:{name}", "--max-episode-steps", "9", "--success", "terminated"]
    run("r", "--rerun", "1", words=[*words, "--model", "zero", "--episodes", "2", "--quiet"])
    recording = Recording(Path("r/rerun/episode_000000.rrd"))
    paths = [path for path in recording.values if path.startswith("/camera/")]
    assert len(paths) == cameras
    for path in paths:
        assert [picture.mean() for picture in recording.pictures(path)] == [0, 10, 20, 30, 40, 50, 60]
    assert recording.steps["/reward"] == [1, 2, 3, 4, 5, 6]
    assert recording.texts("/event") == ["success", "end: success"]


@pytest.mark.slow
def test_workers_record_a_tabletop_task_with_all_its_cameras():
    words = ["--model", "scripted", "--env", "reach", "--episodes", "2", "--quiet"]
    folder = run("r", "--rerun", "2", "--video", "1", "--workers", "2", words=words)
    for result in read_results(folder / EPISODES_FILE):
        recording = Recording(folder / f"rerun/episode_{result.episode_index:06d}.rrd")
        for camera in ("overview", "front", "wrist"):
            pictures = recording.pictures(f"/camera/{camera}")
            assert len(pictures) == result.steps + 1
            assert min(picture.std() for picture in pictures) > 5  # none is blank
        assert recording.texts("/event")[-1] == "end: success"
    recording, trace = Recording(folder / "rerun/episode_000000.rrd"), np.load(folder / "traces/episode_000000.npz")
    np.testing.assert_array_equal(recording.numbers("/action/executed"), trace["executed_action"])
    position = recording.numbers("/observation/state/ee_position")
    np.testing.assert_array_equal(position, trace["observation.state"][:, 14:17])
