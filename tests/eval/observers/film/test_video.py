"""Videos of episodes: real time, one run of each episode, the outcome on the last frame, nothing incomplete."""

import imageio_ffmpeg
import numpy as np
import point_world
import pytest
from frame_colours import GREEN, RED, count_ticks, gif_frames, has_colour
from point_world import PointEnv

from eval.episodes.loop import rollout
from eval.episodes.observer import Observer
from eval.episodes.plan import EpisodeSpec, plan_episodes, plan_seeds
from eval.observers.film.overlay import Caption, bar_height, with_caption
from eval.observers.film.video import VideoRecorder, check_drawing, film_cameras
from eval.observers.film.wall import WallRecorder
from eval.runs.media_paths import video_path, video_paths
from simscaleai.errors import SimScaleError


class Interrupt(Observer):
    """Interrupts the run when the first episode has ended."""

    def on_episode_end(self, slot, result):
        raise KeyboardInterrupt


@pytest.fixture
def film(run_point, tmp_path):
    """Films so many episodes as GIFs; the grey value of a picture is 8 times the step. Returns results and frames."""

    def run(episodes, *, raises=None, observers=(), size=(96, 192), **options):
        def disturb(env, policy):
            env.frame = lambda slot, camera, size: np.full((*size, 3), 8 * env.steps[slot], dtype=np.uint8)
            policy.raises = raises or {}

        paths = {index: tmp_path / f"{index}.gif" for index in range(episodes)}
        recorder = VideoRecorder(paths, size=size)
        plan, every = plan_episodes(episodes), [recorder, *observers]
        results, _, _ = run_point(plan, 3, observers=every, disturb=disturb, **options)
        return results, [gif_frames(path) for path in paths.values()]

    return run


def steps_shown(frames):
    return [round(frame[2, 2, 0] / 8) for frame in frames]


def test_video_has_one_frame_more_than_steps_in_real_time(run_point, tmp_path):
    recorder = VideoRecorder(video_paths(tmp_path / "videos", [0, 2]), size=(32, 48))
    results, env, _ = run_point(plan_episodes(3), 3, observers=[recorder])
    assert sorted(path.name for path in (tmp_path / "videos").iterdir()) == ["episode_000000.mp4", "episode_000002.mp4"]
    path = video_path(tmp_path / "videos", 2)
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert frames == results[2].steps + 1
    assert seconds == pytest.approx(frames / env.spec.control_hz, abs=0.06)
    description = next(imageio_ffmpeg.read_frames(str(path)))
    assert (description["codec"], description["size"]) == ("h264", (48, 32 + bar_height(32)))
    assert description["pix_fmt"].startswith("yuv420p")


def test_video_of_an_episode_that_starts_again_shows_one_run_of_it(film):
    results, videos = film(3, raises={0: 1})
    assert [result.failure for result in results] == ["policy_exception", None, None]
    for result, frames in zip(results, videos, strict=True):
        assert steps_shown(frames) == list(range(result.steps + 1))


def test_an_interrupted_run_leaves_no_incomplete_video(run_point, tmp_path):
    recorder = VideoRecorder(video_paths(tmp_path, range(3)), size=(32, 32))
    with pytest.raises(KeyboardInterrupt):
        run_point(plan_episodes(3), 3, observers=[recorder, Interrupt()])
    assert len(list(tmp_path.iterdir())) == 1
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_last_frame_and_no_other_says_how_it_ended(film):
    results, videos = film(6, max_episode_steps=4)
    assert {result.status for result in results} == {"success", "failure"}
    for result, frames in zip(results, videos, strict=True):
        colour = GREEN if result.status == "success" else RED
        assert [has_colour(frame[96:], colour) for frame in frames] == [False] * result.steps + [True]


def test_a_policy_that_raises_is_filmed_to_its_last_step(film):
    (result,), (frames,) = film(1, raises={0: 1})
    assert (result.steps, result.failure) == (2, "policy_exception")
    assert steps_shown(frames) == [0, 1, 2]
    assert has_colour(frames[-1][96:], RED)


def test_a_policy_that_raises_at_its_start_has_no_video(run_point, tmp_path):
    def disturb(env, policy):
        policy.raises = {0: "reset"}

    recorder = VideoRecorder(video_paths(tmp_path, range(2)), size=(32, 32))
    run_point(plan_episodes(2), 2, observers=[recorder], disturb=disturb)
    assert [path.name for path in tmp_path.iterdir()] == ["episode_000001.mp4"]


class Successes(Observer):
    """Notes after which steps the success rule held in slot 0."""

    def __init__(self):
        self.held = [False]

    def on_step(self, step):
        self.held.append(bool(step.success[0]))


def test_success_that_does_not_end_the_episode_is_marked_while_it_lasts(film):
    successes = Successes()
    _, (frames,) = film(1, observers=[successes], terminate_on_success=False)
    assert any(successes.held[:-1])
    assert [has_colour(frame[96:], GREEN) for frame in frames][:-1] == successes.held[:-1]


def test_the_caption_ticks_where_the_policy_was_asked(film):
    (result,), (frames,) = film(1, size=(240, 240))
    # The policy is asked at every second step. The tick belongs to the frame that the policy saw.
    expected = [step // 2 + 1 for step in range(result.steps)]
    assert [count_ticks(frame[240:]) for frame in frames] == [*expected, expected[-1]]


def test_the_caption_shows_the_instruction(film):
    (result,), (frames,) = film(1)
    assert result.instruction == "move 0"
    picture = np.zeros((96, 192, 3), dtype=np.uint8)
    told = with_caption(picture, Caption(title="move 0", step=0, limit=30, looks=[0]))
    other = with_caption(picture, Caption(title="move 1", step=0, limit=30, looks=[0]))
    assert np.abs(frames[0].astype(int) - told).max() < np.abs(told.astype(int) - other).max()


def test_cameras_are_those_of_the_environment():
    spec = point_world.SPEC
    assert film_cameras(spec) == film_cameras(spec, ["front"]) == ("front",)
    with pytest.raises(SimScaleError, match=r"Unknown camera 'fornt'\. Did you mean 'front'\?"):
        film_cameras(spec, ["fornt"])


@pytest.mark.slow
def test_films_change_no_episode_of_a_policy_that_sees(make_checkpoint, tmp_path):
    from envs.registration import find_environment
    from eval.execution.assembly import build_environment, build_policy, closing

    registration, plan = find_environment("reach"), plan_seeds([3_000_000_001])
    policy = build_policy(str(make_checkpoint("bc-image")), None, registration.offer())

    def run_with(*observers):
        with closing(build_environment(registration, [policy.needs], 1)) as env:
            return rollout(env, policy, plan, observers)

    film = VideoRecorder({0: tmp_path / "film.mp4"}, size=(32, 32))
    wall = WallRecorder(tmp_path / "wall.gif", (1, 1), "both", cameras=("wrist",), size=(32, 32))
    assert run_with(film, wall) == run_with()
    assert all((tmp_path / name).exists() for name in ("film.mp4", "wall.gif"))


@pytest.mark.parametrize("error", [RuntimeError("no\nGL"), SystemExit(0), AttributeError("no GL")])
def test_what_cannot_be_drawn_is_told_before_anything_is_filmed(error):
    def frame(*_):
        raise error

    env = PointEnv(1)
    env.frame = frame
    with pytest.raises(SimScaleError, match=r"^Test/Point-v0 cannot be drawn \(.*\); leave out films and recordings$"):
        check_drawing(env, EpisodeSpec(0, 0), ["front"], (32, 32))


def test_a_start_that_fails_does_not_keep_other_episodes_from_being_filmed():
    env = PointEnv(1)
    env.raises = {0: "reset"}
    check_drawing(env, EpisodeSpec(0, 0), ["front"], (32, 32))
