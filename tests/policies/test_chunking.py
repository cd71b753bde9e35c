"""Chunk execution against a slow reference, and temporal ensembling against its formula."""

import numpy as np
import pytest

from policies.chunking import ChunkQueue, TemporalEnsemble


def chunk_at(step, horizon=5):
    """Return a recognisable chunk (horizon, 2): (step at which it was predicted, index in the chunk)."""
    return np.array([(step, index) for index in range(horizon)], dtype=np.float32)


def run(chunks, steps, slot=0):
    """Drive one slot; return the actions and the steps at which a chunk was asked for."""
    actions, asked = [], []
    for step in range(steps):
        if chunks.needs_chunk(slot):
            asked.append(step)
            chunks.add(slot, chunk_at(step))
        actions.append(chunks.next_action(slot))
    return np.array(actions), asked


@pytest.mark.parametrize("n_action_steps", [1, 2, 3, 5])
def test_queue_executes_the_first_actions_of_each_chunk(n_action_steps):
    queue = ChunkQueue(n_action_steps)
    queue.clear(0)
    actions, asked = run(queue, 12)
    assert asked == list(range(0, 12, n_action_steps))
    expected = [(step - step % n_action_steps, step % n_action_steps) for step in range(12)]
    np.testing.assert_array_equal(actions, expected)


@pytest.mark.parametrize("make", [lambda: ChunkQueue(3), lambda: TemporalEnsemble(0.1)])
def test_slots_are_independent_and_clear_forgets(make):
    chunks = make()
    for slot in (0, 4):
        chunks.clear(slot)
    alone, _ = run(make_cleared(make), 6)
    run(chunks, 4, slot=4)
    together, _ = run(chunks, 6, slot=0)
    np.testing.assert_array_equal(alone, together)
    chunks.clear(4)
    again, _ = run(chunks, 6, slot=4)
    np.testing.assert_array_equal(alone, again)


def make_cleared(make):
    chunks = make()
    chunks.clear(0)
    return chunks


@pytest.mark.parametrize("decay", [0.0, 0.01, 1.0, -0.5])
def test_ensemble_equals_the_offline_formula(decay):
    rng, horizon, steps = np.random.default_rng(0), 4, 9
    predictions = rng.normal(size=(steps, horizon, 3)).astype(np.float32)
    ensemble = TemporalEnsemble(decay)
    ensemble.clear(0)
    for step in range(steps):
        assert ensemble.needs_chunk(0)
        ensemble.add(0, predictions[step])
        online = ensemble.next_action(0)
        said = [predictions[earlier, step - earlier] for earlier in range(max(0, step - horizon + 1), step + 1)]
        weights = np.exp(-decay * np.arange(len(said)))
        np.testing.assert_allclose(online, np.average(said, axis=0, weights=weights), rtol=1e-6)
