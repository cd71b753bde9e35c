"""Chunk execution against a slow reference, and temporal ensembling against its formula."""

import numpy as np
import pytest

from eval.episodes.action_execution import ChunkQueue, TemporalEnsemble, make_executor
from simscaleai.errors import SimScaleError


def chunk_at(step, horizon=5):
    """Return a recognisable chunk (horizon, 2): (step at which it was predicted, index in the chunk)."""
    return np.array([(step, index) for index in range(horizon)], dtype=np.float32)


def run(executor, steps, slot=0):
    """Drive one slot; return the actions and the steps at which a chunk was asked for."""
    actions, asked, slots = [], [], np.array([slot])
    for step in range(steps):
        if executor.needs_look(slots)[0]:
            asked.append(step)
            executor.add(slots, chunk_at(step)[None])
        actions.append(executor.next_actions(slots)[0])
    return np.array(actions), asked


def begun(executor, *slots):
    executor.begin(np.array(slots))
    return executor


@pytest.mark.parametrize("n_action_steps", [1, 2, 3, 5])
def test_queue_executes_the_first_actions_of_each_chunk(n_action_steps):
    actions, asked = run(begun(ChunkQueue(n_action_steps, 1, 2), 0), 12)
    assert asked == list(range(0, 12, n_action_steps))
    expected = [(step - step % n_action_steps, step % n_action_steps) for step in range(12)]
    np.testing.assert_array_equal(actions, expected)


def test_queue_executes_whole_chunks_by_default_whatever_their_length():
    executor, slots = begun(ChunkQueue(None, 2, 2), 0, 1), np.array([0, 1])
    lengths = [1, 4, 2]
    for length in lengths:
        executor.add(slots, np.stack([chunk_at(length, length)] * 2))
        for index in range(length):
            assert not executor.needs_look(slots).any()
            np.testing.assert_array_equal(executor.next_actions(slots), [(length, index)] * 2)
        assert executor.needs_look(slots).all()


def test_a_longer_chunk_of_one_slot_leaves_the_others_alone():
    executor = begun(ChunkQueue(None, 2, 2), 0, 1)
    executor.add(np.array([0]), chunk_at(7, 2)[None])
    executor.add(np.array([1]), chunk_at(8, 5)[None])
    np.testing.assert_array_equal(executor.next_actions(np.array([0, 1])), [(7, 0), (8, 0)])
    np.testing.assert_array_equal(executor.next_actions(np.array([0, 1])), [(7, 1), (8, 1)])
    assert executor.needs_look(np.array([0, 1])).tolist() == [True, False]


@pytest.mark.parametrize("make", [lambda: ChunkQueue(3, 5, 2), lambda: TemporalEnsemble(0.1)])
def test_slots_are_independent_and_begin_drops_old_chunks(make):
    alone, _ = run(begun(make(), 0), 6)
    executor = begun(make(), 0, 4)
    run(executor, 4, slot=4)
    together, _ = run(executor, 6, slot=0)
    np.testing.assert_array_equal(alone, together)
    again, _ = run(begun(executor, 4), 6, slot=4)
    np.testing.assert_array_equal(alone, again)


@pytest.mark.parametrize("decay", [0.0, 0.01, 1.0, -0.5])
def test_ensemble_equals_the_offline_formula(decay):
    rng, horizon, steps, slots = np.random.default_rng(0), 4, 9, np.array([0])
    predictions = rng.normal(size=(steps, horizon, 3)).astype(np.float32)
    ensemble = begun(TemporalEnsemble(decay), 0)
    for step in range(steps):
        assert ensemble.needs_look(slots).all()
        ensemble.add(slots, predictions[step][None])
        online = ensemble.next_actions(slots)[0]
        said = [predictions[earlier, step - earlier] for earlier in range(max(0, step - horizon + 1), step + 1)]
        weights = np.exp(-decay * np.arange(len(said)))
        np.testing.assert_allclose(online, np.average(said, axis=0, weights=weights), rtol=1e-6)


def test_options_of_the_policy_choose_the_executor():
    slots = np.array([0])
    assert run(begun(make_executor({}, 1, 2), 0), 10)[1] == [0, 5]
    assert run(begun(make_executor({"n_action_steps": 2}, 1, 2), 0), 4)[1] == [0, 2]
    waiting = begun(make_executor({"n_action_steps": 2, "synchronous": True}, 1, 2), 0)
    run(waiting, 2)
    assert not waiting.has_action(slots).any()
    assert begun(make_executor({"ensemble_decay": 0.1}, 1, 2), 0).needs_look(slots).all()
    with pytest.raises(SimScaleError, match="at least 1, got 0"):
        make_executor({"n_action_steps": 0}, 1, 2)
    with pytest.raises(SimScaleError, match="1 to 5, the length of a chunk; got 6"):
        run(begun(make_executor({"n_action_steps": 6}, 1, 2), 0), 1)


def test_a_queue_takes_memory_for_the_actions_that_come_and_not_for_those_that_are_asked_for():
    executor = begun(ChunkQueue(10**9, 256, 4), 0)
    with pytest.raises(SimScaleError, match="expected n_action_steps of 1 to 5, the length of a chunk; got 1000000000"):
        executor.add(np.array([0]), np.zeros((1, 5, 4), dtype=np.float32))
