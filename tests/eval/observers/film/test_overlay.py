"""Captions: below the picture, never on it, in words and marks as well as in colours."""

import time

import numpy as np
import pytest
from frame_colours import GREEN, RED, count_ticks, has_colour

from eval.observers.film.overlay import (
    Caption,
    bar_height,
    line_height,
    side_by_side,
    with_caption,
    with_frame,
    with_line,
)


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
    assert count_ticks(bar(picture, step=40, limit=80, looks=looks)) == len(looks)


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


@pytest.mark.parametrize(
    "draw", [lambda picture, text: bar(picture, title=text), lambda picture, text: with_line(picture, text, None)]
)
def test_a_text_of_any_length_is_drawn_as_quickly_as_a_short_one(picture, draw):
    """An episode has hundreds of frames, and each shows the instruction."""
    long = "put it on the left " * 50_000
    draw(picture, "put it")
    began = time.thread_time()
    shown = draw(picture, long)
    assert time.thread_time() - began < 0.2
    np.testing.assert_array_equal(shown, draw(picture, long[:500]))


def test_a_long_text_fills_its_line(picture):
    """It is cut where the next letter would not fit."""
    (_, columns) = np.nonzero((bar(picture, title="m" * 300)[:15].astype(int) - (20, 24, 30)).any(axis=-1))
    assert picture.shape[1] - 30 < columns.max() < picture.shape[1] - 5
