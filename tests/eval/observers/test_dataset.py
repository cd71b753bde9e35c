"""Demonstrations: what a row holds, which episodes are kept, and what the dataset says about them."""

import numpy as np
import point_world
import pytest
from safetensors.numpy import load_file

from eval.episodes.plan import plan_episodes
from eval.observers.dataset import DatasetIndex, EpisodeRecorder, Labels, finished_results
from simscaleai.data import Dataset, DatasetWriter
from simscaleai.data.episode_list import read_discarded


class Quarters(Labels):
    """Labels of 0.25, made from a vector that is not stored."""

    needs = point_world.SPEC.needs("goal")

    def begin(self, slot, spec, begun):
        assert begun.instruction == f"move {spec.seed % 3}"

    def of(self, step):
        return 0.25 + step.observation["goal"]


@pytest.fixture
def collect(run_point, tmp_path):
    """Records so many episodes in 3 slots into a dataset; returns the results and what is finished."""

    def record(episodes, *, keep_failures=False, cameras=(), labels=None, raises=None, breaks=None, **options):
        def disturb(env, policy):
            policy.raises, env.raises = raises or {}, breaks or {}

        sizes = dict.fromkeys(cameras, (4, 6))
        needs = point_world.SPEC.needs("position", cameras=sizes, instruction=True)
        recorder = EpisodeRecorder(tmp_path, needs, labels=labels, keep_failures=keep_failures)
        with DatasetWriter(tmp_path, needs) as writer:
            index = DatasetIndex(writer, "Test/Point-v0", keep_failures=keep_failures, sha256=recorder.sha256)
            plan = plan_episodes(episodes)
            results, _, _ = run_point(plan, 3, observers=[recorder, index], disturb=disturb, **options)
            return results, writer.finished

    return record


def test_dataset_pairs_observations_with_the_actions_that_followed(collect, tmp_path):
    results, _ = collect(5, cameras=["front"])
    dataset = Dataset(tmp_path)
    assert [episode.length for episode in dataset.episodes] == [result.steps for result in results]
    for result in results:
        episode = load_file(tmp_path / "episodes" / f"episode_{result.episode_index:06d}.safetensors")
        assert set(episode) == {"observation.position", "observation.images.front", "action", "executed_action"}
        position, executed = episode["observation.position"], episode["executed_action"]
        np.testing.assert_allclose(position[1:], position[:-1] + 0.2 * executed[:-1], atol=1e-5)
        np.testing.assert_array_equal(executed, np.clip(episode["action"], -1, 1))
        assert (episode["action"][0] == episode["action"][1]).all()  # the point's policy repeats an action once
        shade = (100 + 50 * position[:, 0]).astype(np.uint8)
        image = episode["observation.images.front"]
        assert image.shape == (result.steps, 4, 6, 3)
        assert np.abs(image[:, 0, 0, 0].astype(int) - shade).max() <= 1


def test_labels_may_come_from_vectors_that_are_not_stored(collect, tmp_path):
    collect(2, labels=Quarters())
    dataset = Dataset(tmp_path)
    assert (dataset.vectors("action") == 0.25).all()
    assert (dataset.vectors("executed_action") != 0.25).any()
    assert "observation.goal" not in dataset.array_types


def test_dataset_says_what_each_episode_was(collect, tmp_path):
    results, _ = collect(2)
    metadata = [episode.metadata for episode in Dataset(tmp_path).episodes]
    assert [(entry["seed"], entry["digest"]) for entry in metadata] == [(r.seed, r.digest) for r in results]
    assert metadata[1]["instruction"] == "move 1"
    assert metadata[1]["success"] is True
    assert metadata[1]["environment"] == "Test/Point-v0"


@pytest.mark.parametrize("keep_failures", [False, True])
def test_failures_are_kept_only_if_asked(collect, tmp_path, keep_failures):
    results, _ = collect(8, keep_failures=keep_failures, max_episode_steps=4)
    failed = [result.episode_index for result in results if result.status == "failure"]
    assert 0 < len(failed) < 8
    kept = [episode.episode_index for episode in Dataset(tmp_path).episodes]
    assert kept == [index for index in range(8) if keep_failures or index not in failed]
    discarded = [entry["episode_index"] for entry in read_discarded(tmp_path)]
    assert discarded == ([] if keep_failures else failed)
    assert finished_results(tmp_path) == results


@pytest.mark.parametrize("look", ["reset", 2])
def test_episodes_that_a_policy_ends_with_an_exception_are_never_kept(collect, tmp_path, look):
    collect(4, keep_failures=True, raises={1: look})
    assert [episode.episode_index for episode in Dataset(tmp_path).episodes] == [0, 2, 3]
    assert [entry["failure"] for entry in read_discarded(tmp_path)] == ["policy_exception"]


def test_episodes_that_could_not_be_run_stay_unfinished(collect):
    _, finished = collect(4, breaks={1: 2})
    assert finished == {0, 2, 3}
