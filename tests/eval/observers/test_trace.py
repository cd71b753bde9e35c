"""Traces: the file of an episode repeats it step by step, and NumPy reads it without pickle."""

import numpy as np
import point_world
import pytest

from eval.episodes.observer import Observer
from eval.episodes.plan import plan_episodes
from eval.episodes.probe import Probe
from eval.observers.trace import TraceRecorder
from eval.runs.media_paths import trace_path, trace_paths

NEEDS = point_world.SPEC.needs("position", "goal", cameras={"front": (4, 6)})


class Halved(Probe):
    def act(self, actions, slots):
        return 0.5 * actions


@pytest.fixture
def trace(run_point, tmp_path):
    """Runs so many episodes in 3 slots and traces those in `chosen`; returns results and files."""

    def run(episodes, chosen, *, raises=None, observers=(), **options):
        def disturb(env, policy):
            policy.raises = raises or {}

        recorder = TraceRecorder(trace_paths(tmp_path / "traces", chosen), NEEDS)
        every = [recorder, *observers]
        plan = plan_episodes(episodes)
        results, _, _ = run_point(plan, 3, observers=every, disturb=disturb, probes=[Halved()], **options)
        assert sorted(path.name for path in (tmp_path / "traces").iterdir()) == [f"episode_{i:06d}.npz" for i in chosen]
        paths = [trace_path(tmp_path / "traces", index) for index in chosen]
        return results, [dict(np.load(path, allow_pickle=False)) for path in paths]

    return run


def test_a_trace_repeats_the_episode(trace):
    results, traces = trace(5, [0, 3])
    for result, found in zip([results[0], results[3]], traces, strict=True):
        length, looks = result.steps, (result.steps + 1) // 2
        assert {name: values.shape for name, values in found.items()} == {
            "observation.position": (length, 2),
            "observation.goal": (length, 2),
            "intended_action": (length, 2),
            "executed_action": (length, 2),
            "reward": (length,),
            "success": (length,),
            "stage": (length,),
            "look_steps": (looks,),
            "chunks": (looks, 2, 2),
        }
        position = found["observation.position"]
        np.testing.assert_allclose(position[1:], position[:-1] + 0.2 * found["executed_action"][:-1], atol=1e-5)
        halved = np.clip(0.5 * found["intended_action"], -1, 1)
        np.testing.assert_array_equal(found["executed_action"], halved)
        np.testing.assert_array_equal(found["look_steps"], np.arange(0, length, 2))
        np.testing.assert_array_equal(found["chunks"][:, 0], found["intended_action"][::2])
        assert found["reward"].sum() == result.return_
        assert found["success"].tolist() == [False] * (length - 1) + [result.status == "success"]
        assert found["stage"].tolist() == [""] * length
        assert found["observation.position"].dtype == np.float32


def test_an_episode_without_a_step_has_an_empty_trace(trace):
    results, (found,) = trace(2, [1], raises={1: 0})
    assert (results[1].failure, results[1].steps) == ("policy_exception", 0)
    assert {name: values.shape for name, values in found.items()}["observation.position"] == (0, 2)
    assert found["chunks"].shape == (0, 0, 2)


def test_an_episode_that_starts_again_is_traced_once(trace):
    results, (found,) = trace(3, [1], raises={0: 1})
    assert len(found["reward"]) == results[1].steps


def test_a_trace_is_on_disk_before_the_episode_counts(trace, tmp_path):
    class Log(Observer):
        def on_episode_end(self, slot, result):
            assert trace_path(tmp_path / "traces", result.episode_index).exists()

    trace(3, [0, 1, 2], observers=[Log()])


def test_a_shorter_chunk_is_filled_up(run_point, tmp_path):
    """A policy may answer with chunks of different lengths."""

    def disturb(env, policy):
        predict = policy.predict

        def predict_varied(observation, slots):
            chunks = predict(observation, slots)
            return chunks[:, :1] if policy.looks[0] == 1 else chunks

        policy.predict = predict_varied

    path = tmp_path / "trace.npz"
    run_point(plan_episodes(1), 1, observers=[TraceRecorder({0: path}, NEEDS)], disturb=disturb)
    found = np.load(path, allow_pickle=False)
    assert found["look_steps"][:3].tolist() == [0, 1, 3]
    assert np.isnan(found["chunks"][0, 1]).all()
    assert np.isfinite(found["chunks"][0, 0]).all()
    assert np.isfinite(found["chunks"][1]).all()
