"""Films: files that are whole or not there, captions that leave the picture alone, walls of many episodes."""

import struct

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

import eval.film
import eval.observers.video
import eval.observers.wall
from eval import record
from eval.assembly import build_environment, build_policy
from eval.film import open_film
from eval.loop import rollout
from eval.observers.base import Observer
from eval.observers.video import VideoRecorder
from eval.observers.wall import WallRecorder
from eval.overlay import Caption, bar_height, line_height, side_by_side, with_caption, with_frame, with_line
from eval.plan import plan_episodes, plan_seeds
from simscaleai.errors import SimScaleError

GREEN, RED, BLUE = (76, 195, 124), (240, 104, 96), (94, 177, 232)


def has_colour(picture, colour):
    return bool((np.abs(picture.astype(int) - colour).max(axis=-1) < 12).any())


def frames(n, size=(32, 48)):
    ramp = np.linspace(0, 200, size[1]).astype(np.uint8)
    for index in range(n):
        picture = np.zeros((*size, 3), dtype=np.uint8)
        picture[:] = ramp[None, :, None]
        picture[4:10, 4 + index : 10 + index] = (255, 20, 10)
        yield picture


# Files


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_film_has_its_name_only_when_it_is_complete(tmp_path, suffix):
    path = tmp_path / f"film{suffix}"
    film = open_film(path)
    for frame in frames(5):
        film.add(frame)
    film.finish()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert len(iio.imread(path)) == 5


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_discarded_film_leaves_nothing(tmp_path, suffix):
    film = open_film(tmp_path / f"film{suffix}")
    for frame in frames(5):
        film.add(frame)
    film.discard()
    assert list(tmp_path.iterdir()) == []


def test_an_mp4_begins_with_its_index_so_that_browsers_play_at_once(tmp_path):
    film = open_film(tmp_path / "film.mp4")
    for frame in frames(5):
        film.add(frame)
    film.finish()
    data = (tmp_path / "film.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def broken_encoder(content, after):
    """Returns what stands in for the encoder: writes `content` and, with `after`, dies at that frame."""

    def write_frames(path, *args, **options):
        with open(path, "wb") as file:
            file.write(content)
        for _ in range(after):
            yield
        if after < 99:
            raise OSError("the pipe is broken\n\nand this is a long story")

    return write_frames


WHOLE_MP4 = struct.pack(">I4s", 16, b"moov") + bytes(8)


@pytest.mark.parametrize(("suffix", "content"), [(".mp4", WHOLE_MP4), (".gif", b"GIF89a;")])
def test_what_is_being_written_has_another_name(tmp_path, monkeypatch, suffix, content):
    path, seen = tmp_path / f"film{suffix}", []

    def write_frames(written, *args, **options):
        (tmp_path / written).write_bytes(content)
        for _ in range(99):
            yield
            seen.append([file.name for file in tmp_path.iterdir()])

    monkeypatch.setattr(imageio_ffmpeg, "write_frames", write_frames)
    film = open_film(path)
    for frame in frames(5):
        film.add(frame)
    film.finish()
    assert seen == [[f".partial-film{suffix}"]] * 5
    assert path.read_bytes() == content


WHOLE_BOX = struct.pack(">I4s", 16, b"ftyp") + bytes(8)


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
@pytest.mark.parametrize(
    ("content", "after"),
    [(b"", 99), (WHOLE_BOX, 99), (WHOLE_BOX + struct.pack(">I4s", 999, b"moov"), 99), (b"GIF89a", 99), (b"", 3)],
)
def test_what_an_encoder_breaks_off_never_gets_the_name(tmp_path, monkeypatch, suffix, content, after):
    monkeypatch.setattr(imageio_ffmpeg, "write_frames", broken_encoder(content, after))

    def shoot():
        film = open_film(tmp_path / f"film{suffix}")
        for frame in frames(5):
            film.add(frame)
        film.finish()

    with pytest.raises(SimScaleError, match="is the disk full") as raised:
        shoot()
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_gif_runs_in_real_time_and_keeps_its_last_frame_a_while(tmp_path):
    film = open_film(tmp_path / "film.gif")
    for frame in frames(6):
        film.add(frame)
    film.finish()
    with Image.open(tmp_path / "film.gif") as gif:
        durations = []
        for index in range(gif.n_frames):
            gif.seek(index)
            durations.append(gif.info["duration"])
        assert gif.info["loop"] == 0
    assert durations == [50] * 5 + [1500]


def test_small_things_keep_their_colour_in_a_gif(tmp_path):
    film = open_film(tmp_path / "film.gif")
    for frame in frames(6, size=(120, 160)):
        film.add(frame)
    film.finish()
    spot = iio.imread(tmp_path / "film.gif")[5, 6, 11]
    assert np.abs(spot.astype(int) - (255, 20, 10)).max() < 40


def test_a_gif_that_would_be_too_large_becomes_coarser(tmp_path, monkeypatch):
    monkeypatch.setattr(eval.film, "GIF_BYTES", 20_000)
    film = open_film(tmp_path / "film.gif")
    noise = np.random.default_rng(0)
    for _ in range(9):
        film.add(noise.integers(0, 256, (64, 96, 3), dtype=np.uint8))
    last = np.full((64, 96, 3), 128, dtype=np.uint8)
    last[20:40, 20:40] = (0, 0, 255)
    film.add(last)
    film.finish()
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


# Captions


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (240, 240, 3), dtype=np.uint8)


def bar(picture, **caption):
    shown = {"title": "pick up the red cube", "step": 20, "limit": 150} | caption
    return with_caption(picture, Caption(**shown))[len(picture) :]


@pytest.mark.parametrize("size", [(32, 32), (64, 128), (480, 480), (480, 964), (1080, 1920)])
def test_captions_stand_below_the_picture_and_sizes_stay_even(size):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    shown = with_caption(picture, Caption(title="move", step=3, limit=50, looks=(0, 2), outcome="missed_grasp"))
    np.testing.assert_array_equal(shown[: size[0]], picture)
    assert len(shown) == size[0] + bar_height(size[0])
    assert len(shown) % 2 == 0
    assert bar_height(size[0]) <= max(4, 0.13 * size[0])


def test_success_and_failure_differ_in_words_and_colour(picture):
    going, good, bad = bar(picture), bar(picture, outcome="success"), bar(picture, outcome="missed_grasp")
    assert [has_colour(shown, GREEN) for shown in (going, good, bad)] == [False, True, False]
    assert [has_colour(shown, RED) for shown in (going, good, bad)] == [False, False, True]
    other = bar(picture, outcome="dropped")
    assert (bad != other).any()


@pytest.mark.parametrize("looks", [(), (0,), (0, 8, 16), tuple(range(0, 40, 8))])
def test_every_look_is_a_tick(picture, looks):
    shown = bar(picture, step=40, limit=80, looks=looks)
    ticked = (np.abs(shown.astype(int) - BLUE).max(axis=-1) < 12).sum(axis=0) > 3
    assert np.count_nonzero(np.diff(ticked.astype(int)) == 1) == len(looks)


def test_the_strip_fills_with_time(picture):
    passed = [
        int((np.abs(bar(picture, step=step).astype(int) - (112, 122, 134)).max(axis=-1) < 4).any(axis=0).sum())
        for step in (0, 75, 150)
    ]
    assert passed[0] <= 2
    assert abs(passed[1] * 2 - passed[2]) <= 3
    assert passed[2] > 60


def test_long_and_odd_instructions_stay_on_their_line(picture):
    long, one_line = bar(picture, title="pick up the cube " * 20), bar(picture, title="pick\nup")
    margin = long[:, -6:]
    assert (margin == margin[0, 0]).all()
    np.testing.assert_array_equal(one_line, bar(picture, title="pick up"))
    assert (bar(picture, title="") != bar(picture, title="x")).any()


def test_pictures_side_by_side_and_framed(picture):
    both = side_by_side([picture, 255 - picture])
    np.testing.assert_array_equal(both[:, :240], picture)
    np.testing.assert_array_equal(both[:, -240:], 255 - picture)
    assert both.shape[1] % 2 == 0
    good, bad, going = (with_frame(picture, outcome, 4) for outcome in ("success", "dropped", None))
    assert (good[:4, :200] == GREEN).all()
    assert (bad[-4:] == RED).all()
    np.testing.assert_array_equal(going[4:-4, 4:-4], picture)
    for ended in (good, bad):  # but for the mark in the corner
        np.testing.assert_array_equal(ended[30:-4, 4:-4], picture[26:])
        np.testing.assert_array_equal(ended[4:-4, 4:210], picture[:, :206])
    # Also without colours it can be told how it ended.
    marks = [(framed[:26, -26:] == (20, 24, 30)).all(axis=-1) for framed in (good, bad)]
    assert all(mark.any() for mark in marks)
    assert (marks[0] != marks[1]).any()


def test_a_line_below_a_tile_leaves_the_picture_alone_and_a_failure_is_red(picture):
    height = picture.shape[0]
    going, failed = (with_line(picture, words, outcome) for words, outcome in (("move", None), ("dropped", "dropped")))
    for lined in (going, failed):
        np.testing.assert_array_equal(lined[:height], picture)
        assert lined.shape == (height + line_height(height), picture.shape[1], 3)
        assert lined[height:].max() > 150
    assert (failed[height:] == RED).all(axis=-1).any()
    assert not (going[height:] == RED).all(axis=-1).any()
    long = with_line(picture, "move the red cube " * 20, None)
    assert (long[height:, -2:] == long[-1, -1]).all()


def test_a_wall_names_what_each_tile_was_told_and_what_went_wrong(run, reels, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(eval.observers.wall, "with_line", lambda p, words, outcome: lines.append(words) or p)
    (result,) = run(1, [WallRecorder(tmp_path / "w.mp4", (1, 1), "point", size=(32, 32))], limit=2)
    assert lines == ["move 0", "move 0", result.failure.replace("_", " ")]


# Recorders


class Reel:
    """Takes the place of a film: keeps the frames."""

    def __init__(self, path):
        self.path, self.frames, self.state = path, [], "open"

    def add(self, frame):
        self.frames.append(frame.copy())

    def finish(self):
        self.state = "finished"

    def discard(self):
        self.state = "discarded"


@pytest.fixture
def reels(monkeypatch):
    """Returns the films that were begun, in order."""
    begun = []

    def begin(path):
        begun.append(Reel(path))
        return begun[-1]

    monkeypatch.setattr(eval.observers.video, "open_film", begin)
    monkeypatch.setattr(eval.observers.wall, "open_film", begin)
    return begun


@pytest.fixture
def run(make_env, make_policy):
    """Runs so many episodes of the point in 3 slots."""

    def run_episodes(episodes, observers, *, raises=None, slots=3, **options):
        env = make_env(slots, **options)
        policy = make_policy(env)
        policy.raises = raises or {}
        return rollout(env, policy, plan_episodes(episodes), observers)

    return run_episodes


def test_the_last_frame_and_no_other_says_how_it_ended(run, reels, tmp_path):
    recorder = VideoRecorder({index: tmp_path / f"{index}.mp4" for index in range(8)}, size=(96, 96))
    results = run(8, [recorder], limit=4)
    assert {result.status for result in results} == {"success", "failure"}
    for reel in reels:
        result = results[int(reel.path.stem)]
        assert len(reel.frames) == result.steps + 1
        colour = GREEN if result.status == "success" else RED
        assert [has_colour(frame[96:], colour) for frame in reel.frames] == [False] * result.steps + [True]
        assert [frame[0, 0, 0] for frame in reel.frames] == list(range(result.steps + 1))


def test_a_policy_that_raises_is_filmed_to_its_last_step(run, reels, tmp_path):
    (result,) = run(1, [VideoRecorder({0: tmp_path / "x.mp4"}, size=(96, 96))], raises={0: 3})
    assert (result.steps, result.failure) == (3, "policy_exception")
    assert [reel.state for reel in reels] == ["discarded", "finished"]
    assert len(reels[1].frames) == 4
    assert has_colour(reels[1].frames[-1][96:], RED)


def test_success_that_does_not_end_the_episode_is_marked_while_it_lasts(run, reels, tmp_path):
    class Successes(Observer):
        def __init__(self):
            self.held = [False]

        def on_step(self, step):
            self.held.append(bool(step.info["success"][0]))

    successes = Successes()
    run(1, [VideoRecorder({0: tmp_path / "x.mp4"}, size=(96, 96)), successes], terminate_on_success=False, slots=1)
    assert any(successes.held[:-1])
    marks = [has_colour(frame[96:], GREEN) for frame in reels[0].frames]
    assert marks[:-1] == successes.held[:-1]


def test_the_caption_ticks_where_the_policy_looked(run, monkeypatch, tmp_path):
    captions = []

    def note(picture, caption):
        captions.append((caption.title, caption.step, tuple(caption.looks)))
        return with_caption(picture, caption)

    monkeypatch.setattr(eval.observers.video, "with_caption", note)
    (result,) = run(1, [VideoRecorder({0: tmp_path / "x.mp4"}, size=(32, 32))])
    words = {0: "move 0"}[result.seed]
    # The point's policy looks at every second step; a look belongs to the frame that it looked at.
    expected = [(words, step, tuple(range(0, step + 1, 2))) for step in range(result.steps)]
    assert captions[:-1] == expected
    assert captions[-1] == (words, result.steps, tuple(range(0, result.steps, 2)))


def tile(frame, row, column, size=32):
    height, width = size + line_height(size) + 8, size + 8
    return frame[row * height : (row + 1) * height, column * width : (column + 1) * width]


def test_each_tile_of_a_wall_keeps_its_last_picture_until_all_have_ended(run, reels, tmp_path):
    results = run(6, [WallRecorder(tmp_path / "w.mp4", (2, 3), "point", size=(32, 32))], limit=5)
    assert len({result.steps for result in results}) > 1
    assert {result.status for result in results} == {"success", "failure"}
    (reel,) = reels
    assert reel.state == "finished"
    assert len(reel.frames) == max(result.steps for result in results) + 1
    for index, result in enumerate(results):
        colour = GREEN if result.status == "success" else RED
        for step, frame in enumerate(reel.frames):
            shown = tile(frame, *divmod(index, 3))
            assert shown[20, 20, 0] == min(step, result.steps)
            assert (shown[-1] == colour).all() == (step >= result.steps)


def test_a_wall_holds_what_had_to_start_anew_once(run, reels, tmp_path):
    results = run(4, [WallRecorder(tmp_path / "w.mp4", (2, 2), "point", size=(32, 32))], raises={1: 2})
    assert results[1].failure == "policy_exception"
    assert len(reels[0].frames) == max(result.steps for result in results) + 1
    assert [tile(reels[0].frames[-1], *divmod(i, 2))[20, 20, 0] for i in range(4)] == [r.steps for r in results]


class Interrupt(Observer):
    def on_episode_end(self, slot, result):
        raise KeyboardInterrupt


def test_an_interrupted_wall_leaves_nothing(run, tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        run(4, [WallRecorder(tmp_path / "w.mp4", (2, 2), "point", size=(32, 32)), Interrupt()])
    assert list(tmp_path.iterdir()) == []
    composed = []

    def interrupt_later(self, step):
        composed.append(step)
        if step == 3:
            raise KeyboardInterrupt
        return np.zeros((64, 64, 3), dtype=np.uint8)

    monkeypatch.setattr(WallRecorder, "_compose", interrupt_later)
    with pytest.raises(KeyboardInterrupt):
        run(4, [WallRecorder(tmp_path / "w.mp4", (2, 2), "point", size=(32, 32))])
    assert composed == [0, 1, 2, 3]
    assert list(tmp_path.iterdir()) == []


def test_films_change_no_episode_of_a_policy_that_sees(make_checkpoint, tmp_path):
    folder, env_id, plan = make_checkpoint("bc-image"), "SimScale/Reach-v0", plan_seeds([3_000_000_001])
    policy = build_policy(str(folder), None, env_id)

    def run_with(*observers):
        env = build_environment(policy.contract, env_id, 1)
        found = rollout(env, policy, plan, observers)
        env.close()
        return found

    film = VideoRecorder({0: tmp_path / "film.mp4"}, cameras=("overview",), size=(32, 32))
    wall = WallRecorder(tmp_path / "wall.gif", (1, 1), "both", cameras=("wrist",), size=(32, 32))
    assert run_with(film, wall) == run_with()
    assert all((tmp_path / name).exists() for name in ("film.mp4", "wall.gif"))


# The command

SCRIPTED = ["--model", "scripted", "--env", "reach"]


def test_a_wall_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert record.main([*SCRIPTED, "--grid", "1x2", "--size", "32", "--output", "wall.gif"]) == 0
    out = capsys.readouterr().out
    assert "2 episodes, seeds 0 to 1" in out
    assert out.endswith("wall.gif  2 of 2 succeeded\n")
    tile_height = 40 + line_height(32)
    assert iio.imread("wall.gif").shape[1:3] == (tile_height + bar_height(tile_height), 80)
    assert [path.name for path in tmp_path.iterdir()] == ["wall.gif"]


def test_two_cameras_side_by_side_from_the_command_line(tmp_path):
    path = tmp_path / "both.mp4"
    views = ["--cameras", "front", "wrist", "--size", "64", "--seeds", "3000000000"]
    assert record.main([*SCRIPTED, *views, "--output", str(path)]) == 0
    film = iio.imread(path)
    assert film.shape[1:3] == (64 + bar_height(64), 132)
    left, right = film[0, :64, :64].astype(int), film[0, :64, -64:].astype(int)
    assert np.abs(left - right).mean() > 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "there.mp4", "--seeds", "1"], "there.mp4 exists; choose another --output"),
        (["--output", "new.gif"], "new.gif is one film: expected one of --seeds, or --grid, got 3 episodes"),
        (
            ["--output", "v", "--grid", "4"],
            "rows x columns, such as 4x4, at most 100 tiles; got '4'",
        ),
        (["--output", "v", "--grid", "0x4"], "got '0x4'"),
        (["--output", "v", "--grid", "20x20"], "at most 100 tiles; got '20x20'"),
        (["--output", "v", "--grid", "2x2", "--seeds", "1", "2"], "expected 4 seeds for a wall of 2x2, got 2"),
        (["--output", "v", "--grid", "4x4", "--size", "480"], "3,686,400 pixels, at most 2,600,000"),
        (["--output", "v", "--size", "99"], "expected an even --size from 32 to 1920 px, got 99"),
        (["--output", "v", "--size", "0"], "expected an even --size from 32 to 1920 px, got 0"),
        (["--output", "v", "--cameras", "overwiev"], "Did you mean 'overview'?"),
    ],
)
def test_mistakes_in_filming_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.mp4").write_bytes(b"precious")
    assert record.main([*SCRIPTED, *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("there.mp4", b"precious")]
