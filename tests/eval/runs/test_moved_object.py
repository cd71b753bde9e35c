"""Moved objects: the share of the right object is among the episodes in which one was lifted."""

import pytest

from eval.episodes.results import EpisodeResult
from eval.runs.moved_object import moved_objects
from eval.terminal.figures import moved_object_text
from eval.runs.summary import summarise


def episodes(n, status, stage, failure):
    result = EpisodeResult(
        episode_index=0,
        seed=0,
        instruction="",
        target="red",
        status=status,
        success_once=False,
        success_held=None,
        success_at_end=None,
        steps=1,
        return_=0.0,
        stage=stage,
        failure=failure,
        digest="",
    )
    return [result] * n


RESULTS = [
    *episodes(20, "success", "placed", None),
    *episodes(6, "failure", "lifted", "dropped"),
    *episodes(3, "failure", "placed", "placed_then_knocked"),
    *episodes(1, "failure", "lifted", "policy_exception"),
    *episodes(58, "failure", "approached", "wrong_object"),
    *episodes(2, "failure", "grasped", "wrong_object"),
    *episodes(10, "failure", "grasped", "missed_grasp"),
]


def test_the_share_of_the_right_object_is_among_those_that_were_lifted():
    moved = moved_objects(RESULTS)
    assert (moved.right, moved.wrong, moved.n) == (30, 60, 90)
    assert moved.right_share_95 == pytest.approx([0.2446, 0.4357], abs=1e-4)
    low, high = moved_objects(RESULTS, sequential=True).right_share_95
    assert low < 0.24
    assert high > 0.44
    assert moved_object_text(summarise(RESULTS, 100)).startswith("30/90   33.3 %   95 % interval [24.5, 43.6] (Wilson")


def test_without_a_lifted_object_there_is_no_share():
    assert moved_objects(episodes(3, "failure", "approached", "missed_grasp")) is None
