"""The command that films: where videos go, what they show, and one clear line for every mistake."""

import os
from dataclasses import replace

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import point_world
import pytest

from envs.registration import Registration, register_environment
from eval import record
from eval.observers.film.overlay import bar_height, line_height

SCRIPTED = ["--model", "scripted", "--env", "reach"]

pytestmark = pytest.mark.usefixtures("workdir")


def test_one_video_for_each_seed(workdir, capsys):
    seeds = ["--seeds", "3000000000", "3000000001"]
    assert record.main([*SCRIPTED, *seeds, "--size", "64", "--output", "videos"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "scripted in SimScale/Reach-v0: 2 episodes, seeds 3000000000 to 3000000001; videos in videos"
    for index, line in enumerate(said[1:]):
        path = f"videos/episode_00000{index}.mp4"
        frames, _ = imageio_ffmpeg.count_frames_and_secs(path)
        assert line == f"{path}  seed {3_000_000_000 + index}: success after {frames - 1} steps"
    assert len(said) == 3


def test_a_wall_from_the_command_line(workdir, capsys):
    assert record.main([*SCRIPTED, "--grid", "1x2", "--size", "32", "--output", "wall.gif"]) == 0
    out = capsys.readouterr().out
    assert "2 episodes, seeds 0 to 1" in out
    assert out.endswith("wall.gif  2 of 2 succeeded\n")
    tile_height = 40 + line_height(32)
    assert iio.imread("wall.gif").shape[1:3] == (tile_height + bar_height(tile_height), 80)
    assert [path.name for path in workdir.iterdir()] == ["wall.gif"]


def test_two_cameras_side_by_side_from_the_command_line(tmp_path):
    path = tmp_path / "both.mp4"
    views = ["--cameras", "front", "wrist", "--size", "64", "--seeds", "3000000000"]
    assert record.main([*SCRIPTED, *views, "--output", str(path)]) == 0
    film = iio.imread(path)
    assert film.shape[1:3] == (64 + bar_height(64), 132)
    left, right = film[0, :64, :64].astype(int), film[0, :64, -64:].astype(int)
    assert np.abs(left - right).mean() > 10


def test_any_environment_can_be_filmed(point_environment, capsys):
    flags = ["--env", "point", "--model", "point_world:Homing", "--size", "64", "--output", "v"]
    assert record.main(flags) == 0
    frames, seconds = imageio_ffmpeg.count_frames_and_secs("v/episode_000002.mp4")
    assert seconds == pytest.approx(frames / point_world.SPEC.control_hz, abs=0.06)
    assert "v/episode_000002.mp4  seed 2: success after" in capsys.readouterr().out


def test_an_environment_without_a_camera_for_videos_is_refused_in_one_line(point_environment, workdir, capsys):
    blind = replace(point_world.SPEC, env_id="Test/Blind-v0", film_cameras=())
    register_environment(Registration("blind", "Test/Blind-v0", lambda: blind, point_world.PointEnv))
    assert record.main(["--env", "blind", "--model", "point_world:Homing", "--output", "v"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "Test/Blind-v0 has no camera for videos" in line
    assert list(workdir.iterdir()) == []


def test_two_commands_do_not_write_into_one_folder(capsys):
    fcntl = pytest.importorskip("fcntl")
    os.mkdir("v")
    descriptor = os.open("v", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert record.main([*SCRIPTED, "--output", "v"]) == 2
    os.close(descriptor)
    assert "another process is writing to v" in capsys.readouterr().err
    assert os.listdir("v") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "there.mp4", "--seeds", "1"], "there.mp4 exists; choose another --output"),
        *(
            (["--output", f"new{suffix}", "--seeds", "1"], f"a file that ends in .mp4 or .gif, got new{suffix}")
            for suffix in (".avi", ".mov", ".webm", ".MPG", ".png")
        ),
        (["--output", "new.gif"], "new.gif is one video: expected one seed or --grid, got 3 episodes"),
        (["--output", "v", "--grid", "4"], "rows x columns, such as 4x4, at most 100 tiles; got '4'"),
        (["--output", "v", "--grid", "0x4"], "got '0x4'"),
        (["--output", "v", "--grid", "20x20"], "at most 100 tiles; got '20x20'"),
        (["--output", "v", "--grid", "2x2", "--seeds", "1", "2"], "expected 4 seeds for a wall of 2x2, got 2"),
        (["--output", "v", "--grid", "4x4", "--size", "480"], "3,686,400 pixels, at most 2,600,000"),
        (["--output", "v", "--size", "99"], "expected an even --size from 32 to 1920 px, got 99"),
        (["--output", "v", "--size", "0"], "expected an even --size from 32 to 1920 px, got 0"),
        (["--output", "v", "--cameras", "overwiev"], "Did you mean 'overview'?"),
    ],
)
def test_mistakes_in_filming_are_one_line(workdir, capsys, arguments, message):
    (workdir / "there.mp4").write_bytes(b"precious")
    assert record.main([*SCRIPTED, *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert [(path.name, path.read_bytes()) for path in workdir.iterdir()] == [("there.mp4", b"precious")]


def test_a_folder_may_have_a_dot_in_its_name(point_environment):
    assert record.main(["--env", "point", "--model", "point_world:Homing", "--seeds", "1", "--output", "v1.2"]) == 0
    assert os.listdir("v1.2") == ["episode_000000.mp4"]


@pytest.mark.parametrize("output", ["film.mp4", "new/film.gif"])
def test_two_commands_do_not_write_one_film(point_environment, capsys, workdir, output):
    """The second one begins while the first one films."""
    flags = ["--env", "point", "--size", "32", "--seeds", "1", "--output", output]
    codes = []

    class Second(point_world.Homing):
        def reset(self, *start):
            super().reset(*start)
            if not codes:
                codes.append(record.main([*flags, "--model", "point_world:Homing"]))

    point_world.Second = Second
    try:
        assert record.main([*flags, "--model", "point_world:Second"]) == 0
    finally:
        del point_world.Second
    assert codes == [2]
    assert "another process is writing to" in capsys.readouterr().err
    assert [path.name for path in (workdir / output).parent.iterdir()] == [(workdir / output).name]


def test_a_film_that_is_broken_off_leaves_nothing(point_environment, workdir):
    class Broken(point_world.Homing):
        def predict(self, *given):
            raise KeyboardInterrupt

    point_world.Broken = Broken
    try:
        flags = ["--env", "point", "--model", "point_world:Broken", "--size", "32", "--seeds", "1"]
        for output in ("film.mp4", "film.gif"):
            assert record.main([*flags, "--output", output]) == 130
    finally:
        del point_world.Broken
    assert list(workdir.iterdir()) == []


def test_an_output_that_cannot_be_is_refused_before_a_policy_is_loaded(workdir, monkeypatch, capsys):
    monkeypatch.setattr("eval.record.build_policy", None)
    (workdir / "full").mkdir()
    (workdir / "full" / "file").touch()
    (workdir / "film.mp4").touch()
    for output, flags in (("full", []), ("full/file/new", []), ("film.mp4", ["--seeds", "1"])):
        assert record.main([*SCRIPTED, *flags, "--output", output]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3
