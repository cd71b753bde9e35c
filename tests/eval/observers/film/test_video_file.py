"""Video files: complete or not there, in real time, small enough."""

import struct

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from eval.observers.film.video_file import check_encoder, open_video, remove_partial_videos
from simscaleai.errors import SimScaleError


def frames(n, size=(32, 48)):
    ramp = np.linspace(0, 200, size[1]).astype(np.uint8)
    for index in range(n):
        picture = np.zeros((*size, 3), dtype=np.uint8)
        picture[:] = ramp[None, :, None]
        picture[4:10, 4 + index : 10 + index] = (255, 20, 10)
        yield picture


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_video_has_its_name_only_when_it_is_complete(tmp_path, suffix):
    path = tmp_path / f"film{suffix}"
    video = open_video(path, 20)
    for frame in frames(5):
        video.add(frame)
    video.finish()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert len(iio.imread(path)) == 5


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_discarded_video_leaves_nothing(tmp_path, suffix):
    video = open_video(tmp_path / f"film{suffix}", 20)
    for frame in frames(5):
        video.add(frame)
    video.discard()
    assert list(tmp_path.iterdir()) == []


def test_an_mp4_begins_with_its_index_so_that_browsers_play_at_once(tmp_path):
    video = open_video(tmp_path / "film.mp4", 20)
    for frame in frames(5):
        video.add(frame)
    video.finish()
    data = (tmp_path / "film.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def broken_encoder(content, after):
    """Returns a substitute for the encoder, which writes `content` and breaks at the frame `after`, if below 99."""

    def write_frames(path, *args, **options):
        with open(path, "wb") as file:
            file.write(content)
        for _ in range(after):
            yield
        if after < 99:
            raise OSError("the pipe is broken\n\nmore text")

    return write_frames


WHOLE_MP4 = struct.pack(">I4s", 16, b"moov") + bytes(8)


@pytest.mark.parametrize(("suffix", "content"), [(".mp4", WHOLE_MP4), (".gif", b"GIF89a;")])
def test_an_incomplete_file_has_another_name(tmp_path, monkeypatch, suffix, content):
    path, seen = tmp_path / f"film{suffix}", []

    def write_frames(written, *args, **options):
        (tmp_path / written).write_bytes(content)
        for _ in range(99):
            yield
            seen.append([file.name for file in tmp_path.iterdir()])

    monkeypatch.setattr(imageio_ffmpeg, "write_frames", write_frames)
    video = open_video(path, 20)
    for frame in frames(5):
        video.add(frame)
    video.finish()
    assert seen == [[f".partial-film{suffix}"]] * 5
    assert path.read_bytes() == content


WHOLE_BOX = struct.pack(">I4s", 16, b"ftyp") + bytes(8)


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
@pytest.mark.parametrize(
    ("content", "after"),
    [(b"", 99), (WHOLE_BOX, 99), (WHOLE_BOX + struct.pack(">I4s", 999, b"moov"), 99), (b"GIF89a", 99), (b"", 3)],
)
def test_a_file_that_the_encoder_does_not_complete_never_gets_its_name(tmp_path, monkeypatch, suffix, content, after):
    monkeypatch.setattr(imageio_ffmpeg, "write_frames", broken_encoder(content, after))

    def shoot():
        video = open_video(tmp_path / f"film{suffix}", 20)
        for frame in frames(5):
            video.add(frame)
        video.finish()

    with pytest.raises(SimScaleError, match="is the disk full") as raised:
        shoot()
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_gif_runs_in_real_time_and_keeps_its_last_frame_a_while(tmp_path):
    video = open_video(tmp_path / "film.gif", 20)
    for frame in frames(6):
        video.add(frame)
    video.finish()
    with Image.open(tmp_path / "film.gif") as gif:
        durations = []
        for index in range(gif.n_frames):
            gif.seek(index)
            durations.append(gif.info["duration"])
        assert gif.info["loop"] == 0
    assert durations == [50] * 5 + [1500]


def test_small_things_keep_their_colour_in_a_gif(tmp_path):
    video = open_video(tmp_path / "film.gif", 20)
    for frame in frames(6, size=(120, 160)):
        video.add(frame)
    video.finish()
    spot = iio.imread(tmp_path / "film.gif")[5, 6, 11]
    assert np.abs(spot.astype(int) - (255, 20, 10)).max() < 40


def test_a_gif_that_would_be_too_large_becomes_coarser(tmp_path):
    video = open_video(tmp_path / "film.gif", 20, gif_bytes=20_000)
    noise = np.random.default_rng(0)
    for _ in range(9):
        video.add(noise.integers(0, 256, (64, 96, 3), dtype=np.uint8))
    last = np.full((64, 96, 3), 128, dtype=np.uint8)
    last[20:40, 20:40] = (0, 0, 255)
    video.add(last)
    video.finish()
    assert (tmp_path / "film.gif").stat().st_size <= 20_000
    with Image.open(tmp_path / "film.gif") as gif:
        total = 0
        for index in range(gif.n_frames):
            gif.seek(index)
            total += gif.info["duration"] if index < gif.n_frames - 1 else 0
        end = np.asarray(gif.convert("RGB"))
    assert 300 <= total <= 600  # ten frames of 50 ms, or fewer that stay longer
    rows = slice(round(0.36 * end.shape[0]), round(0.56 * end.shape[0]))
    columns = slice(round(0.24 * end.shape[1]), round(0.38 * end.shape[1]))
    assert np.abs(end[rows, columns].mean(axis=(0, 1)) - (0, 0, 255)).max() < 40  # it ends as the film does


def test_partial_videos_of_killed_processes_are_removed(tmp_path):
    for name in (".partial-film.mp4", ".partial-film.gif", "other.mp4"):
        (tmp_path / name).write_bytes(b"precious")
    remove_partial_videos(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["other.mp4"]


ENCODERS = {"missing": "/nowhere/ffmpeg", "broken": "/bin/false", "a folder": "/"}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_encoder_that_does_not_run_is_told_before_and_never_called_a_full_disk(tmp_path, monkeypatch, encoder):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", ENCODERS[encoder])
    with pytest.raises(
        SimScaleError, match=r"^cannot run ffmpeg \(.*\); reinstall imageio-ffmpeg, or correct"
    ) as raised:
        check_encoder()
    assert "\n" not in str(raised.value)
    if encoder != "broken":
        with pytest.raises(SimScaleError, match=r"^cannot run ffmpeg"):
            open_video(tmp_path / "film.mp4", 20).add(np.zeros((32, 32, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_the_installed_encoder_runs():
    check_encoder()
