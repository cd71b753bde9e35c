"""Walls: every tile starts at once and keeps its last picture, with what was told and how it ended."""

import shutil

import numpy as np
import pytest
from frame_colours import GREEN, RED, gif_frames

from eval.episodes.observer import Observer
from eval.episodes.plan import plan_episodes
from eval.observers.film.overlay import line_height, with_frame, with_line
from eval.observers.film.wall import WallRecorder
from simscaleai.errors import SimScaleError

SIZE = 64


@pytest.fixture
def film(run_point, tmp_path):
    """Films a wall as a GIF; each picture has 8 times the step as its grey value. Returns results and frames."""

    def run(grid, *, raises=None, observers=(), **options):
        def disturb(env, policy):
            env.frame = lambda slot, camera, size: np.full((*size, 3), 8 * env.steps[slot], dtype=np.uint8)
            policy.raises = raises or {}

        path = tmp_path / "wall" / "wall.gif"
        wall = WallRecorder(path, grid, "point", size=(SIZE, SIZE))
        plan = plan_episodes(grid[0] * grid[1])
        results, _, _ = run_point(plan, len(plan), observers=[*observers, wall], disturb=disturb, **options)
        return results, gif_frames(path)

    return run


def tile(frame, row, column):
    height, width = SIZE + line_height(SIZE) + 8, SIZE + 8
    return frame[row * height : (row + 1) * height, column * width : (column + 1) * width]


def is_colour(pixels, colour):
    return bool(np.abs(pixels.astype(int) - colour).max() < 16)


def test_each_tile_keeps_its_last_picture_until_all_have_ended(film):
    results, frames = film((2, 3), max_episode_steps=5)
    assert len({result.steps for result in results}) > 1
    assert {result.status for result in results} == {"success", "failure"}
    assert len(frames) == max(result.steps for result in results) + 1
    for index, result in enumerate(results):
        colour = GREEN if result.status == "success" else RED
        for step, frame in enumerate(frames):
            shown = tile(frame, *divmod(index, 3))
            assert round(shown[40, 40, 0] / 8) == min(step, result.steps)
            assert is_colour(shown[-2], colour) == (step >= result.steps)


def test_an_episode_that_starts_again_is_shown_once(film):
    results, frames = film((2, 2), raises={1: 2})
    assert results[1].failure == "policy_exception"
    assert len(frames) == max(result.steps for result in results) + 1
    assert [round(tile(frames[-1], *divmod(i, 2))[40, 40, 0] / 8) for i in range(4)] == [r.steps for r in results]


def test_a_policy_that_raises_at_its_start_has_a_tile(film):
    results, frames = film((1, 2), raises={1: "reset"})
    assert results[1].failure == "policy_exception"
    assert is_colour(tile(frames[0], 0, 1)[-2], RED)


def test_a_tile_shows_what_was_told_and_then_what_went_wrong(film):
    (result,), frames = film((1, 1), max_episode_steps=2)
    assert result.failure == "never_arrived"
    picture = np.full((SIZE, SIZE, 3), 0, dtype=np.uint8)

    def difference(frame, words, outcome):
        expected = with_frame(with_line(picture, words, outcome), outcome, 4)[SIZE + 4 :]
        return np.abs(tile(frame, 0, 0)[SIZE + 4 :].astype(int) - expected).mean()

    assert difference(frames[0], "move 0", None) < 0.5 * difference(frames[0], "move 1", None)
    assert difference(frames[-1], "never arrived", "x") < 0.5 * difference(frames[-1], "move 0", "x")


class Interrupt(Observer):
    def on_episode_end(self, slot, result):
        raise KeyboardInterrupt


def test_an_interrupted_wall_leaves_nothing(film, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        film((2, 2), observers=[Interrupt()])
    assert list((tmp_path / "wall").iterdir()) == []


def test_a_wall_that_cannot_be_written_is_one_clear_line_and_leaves_nothing(film, tmp_path):
    class RemoveFolder(Observer):
        def on_run_end(self, results):
            shutil.rmtree(tmp_path / "wall")

    with pytest.raises(SimScaleError, match="cannot complete"):
        film((1, 2), observers=[RemoveFolder()])
    assert list(tmp_path.iterdir()) == []
