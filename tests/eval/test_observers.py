import io
import re
from types import SimpleNamespace

import imageio_ffmpeg
import numpy as np
import pytest
from safetensors.numpy import load_file

import eval.observers.progress
from eval.loop import rollout
from eval.observers.base import Observer
from eval.observers.dataset import DatasetIndex, EpisodeFiles, finished_results
from eval.observers.log import EpisodeLog
from eval.observers.progress import Progress
from eval.observers.video import VideoRecorder, video_path, video_paths
from eval.overlay import bar_height
from eval.plan import plan_episodes
from eval.results import read_results
from simscaleai.data import Dataset, DatasetWriter
from simscaleai.data.description import read_discarded


class Interrupt(Observer):
    """Interrupts the run when so many episodes have ended."""

    def __init__(self, after):
        self.left = after

    def on_episode_end(self, slot, result):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.fixture
def run(make_env, make_policy):
    """Runs so many episodes of the point in 3 slots with these observers."""

    def run_episodes(episodes, observers, *, disturb=lambda policy: None, **options):
        env = make_env(3, **options)
        policy = make_policy(env)
        disturb(policy)
        return rollout(env, policy, plan_episodes(episodes), observers)

    return run_episodes


def test_log_holds_all_episodes_in_order_when_complete(run, tmp_path):
    results = run(7, [EpisodeLog(tmp_path)])
    lines = (tmp_path / "episodes.jsonl").read_text().splitlines()
    assert [f'"episode_index": {index},' in line for index, line in enumerate(lines)] == [True] * 7
    assert read_results(tmp_path / "episodes.jsonl") == results


def test_log_of_a_broken_run_holds_what_has_ended(run, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(7, [EpisodeLog(tmp_path), Interrupt(after=4)])
    kept = read_results(tmp_path / "episodes.jsonl")
    assert len(kept) == 4
    assert set(kept) < set(run(7, []))


def test_video_has_one_frame_more_than_steps_in_real_time(run, tmp_path):
    results = run(3, [VideoRecorder(video_paths(tmp_path / "videos", [0, 2]), size=(32, 48))])
    assert sorted(path.name for path in (tmp_path / "videos").iterdir()) == ["episode_000000.mp4", "episode_000002.mp4"]
    path = video_path(tmp_path / "videos", 2)
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert frames == results[2].steps + 1
    assert seconds == pytest.approx(frames / 20, abs=0.06)
    description = next(imageio_ffmpeg.read_frames(str(path)))
    assert (description["codec"], description["size"]) == ("h264", (48, 32 + bar_height(32)))
    assert description["pix_fmt"].startswith("yuv420p")


def test_video_of_an_episode_that_had_to_start_anew_shows_one_run_of_it(run, tmp_path):
    def break_first(policy):
        policy.raises = {0: 3}

    results = run(3, [VideoRecorder(video_paths(tmp_path, [1]), size=(32, 32))], disturb=break_first)
    assert imageio_ffmpeg.count_frames_and_secs(str(video_path(tmp_path, 1)))[0] == results[1].steps + 1


def test_a_broken_run_leaves_no_half_video(run, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(3, [VideoRecorder(video_paths(tmp_path, range(3)), size=(32, 32)), Interrupt(after=1)])
    assert len(list(tmp_path.iterdir())) <= 1
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.fixture
def collect(run, tmp_path, make_env):
    """Records so many episodes with labels of 0.25 into a dataset; returns the results."""

    def record(episodes, *, keep_failures=False, cameras=("front", "wrist"), **options):
        labels = np.full((3, 4), 0.25, dtype=np.float32)
        with DatasetWriter(tmp_path, make_env(1, cameras=cameras).contract.to_json()) as writer:
            files = EpisodeFiles(tmp_path, labels, keep_failures=keep_failures)
            index = DatasetIndex(writer, "Point-v0", keep_failures=keep_failures)
            return run(episodes, [files, index], cameras=cameras, **options)

    return record


def test_dataset_pairs_observations_with_the_actions_that_followed(collect, tmp_path):
    results = collect(5)
    dataset = Dataset(tmp_path)
    assert [record.length for record in dataset.episodes] == [result.steps for result in results]
    for result in results:
        episode = load_file(tmp_path / "episodes" / f"episode_{result.episode_index:06d}.safetensors")
        position, action = episode["observation.state"], episode["executed_action"]
        np.testing.assert_allclose(position[1:], position[:-1] + 0.2 * action[:-1, :2], atol=1e-5)
        assert (episode["action"] == 0.25).all()
        assert episode["observation.environment_state"].shape == (result.steps, 2)
        shade = (100 + 50 * position[:, 0]).astype(np.uint8)
        for camera in ("front", "wrist"):
            image = episode[f"observation.images.{camera}"]
            assert image.shape == (result.steps, 4, 6, 3)
            assert np.abs(image[:, 0, 0, 0].astype(int) - shade).max() <= 1


def test_dataset_says_what_each_episode_was(collect, tmp_path):
    results = collect(2, cameras=())
    metadata = [record.metadata for record in Dataset(tmp_path).episodes]
    assert [(entry["seed"], entry["digest"]) for entry in metadata] == [(r.seed, r.digest) for r in results]
    assert metadata[1]["instruction"] == "move 1"
    assert metadata[1]["success"] is True
    assert metadata[1]["environment"] == "Point-v0"


@pytest.mark.parametrize("keep_failures", [False, True])
def test_failures_are_kept_only_if_asked(collect, tmp_path, keep_failures):
    results = collect(8, keep_failures=keep_failures, limit=4)
    failed = [result.episode_index for result in results if result.status == "failure"]
    assert 0 < len(failed) < 8
    kept = [record.episode_index for record in Dataset(tmp_path).episodes]
    assert kept == [index for index in range(8) if keep_failures or index not in failed]
    discarded = [entry["episode_index"] for entry in read_discarded(tmp_path)]
    assert discarded == ([] if keep_failures else failed)
    assert finished_results(tmp_path) == results


def test_episodes_that_a_policy_broke_off_are_never_kept(collect, tmp_path):
    def break_second(policy):
        policy.raises = {1: 2}

    collect(4, keep_failures=True, disturb=break_second)
    assert [record.episode_index for record in Dataset(tmp_path).episodes] == [0, 2, 3]
    assert [entry["failure"] for entry in read_discarded(tmp_path)] == ["policy_exception"]


def test_episodes_that_could_not_be_run_stay_unfinished(run, tmp_path, make_env, make_policy):
    env = make_env(3)
    env.raises = {1: 2}
    with DatasetWriter(tmp_path, env.contract.to_json()) as writer:
        observers = [EpisodeFiles(tmp_path, np.zeros((3, 4), np.float32)), DatasetIndex(writer, "Point-v0")]
        rollout(env, make_policy(env), plan_episodes(4), observers)
        assert writer.finished == {0, 2, 3}


def test_progress_prints_plain_lines_where_there_is_no_terminal(run, monkeypatch):
    monkeypatch.setattr(eval.observers.progress, "SECONDS_BETWEEN_LINES", 0.0)
    stream = io.StringIO()
    run(4, [Progress(4, stream=stream)])
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4
    assert re.fullmatch(r"4/4 episodes, [\d.]+/s, 0 s left, success 4/4 100 % \[51, 100\] at 95%", lines[-1]), lines[-1]


def test_progress_of_a_resumed_run_counts_what_was_there(run, monkeypatch):
    monkeypatch.setattr(eval.observers.progress, "SECONDS_BETWEEN_LINES", 0.0)
    earlier, stream = run(4, []), io.StringIO()
    run(1, [Progress(6, earlier=earlier, stream=stream)])
    (line,) = stream.getvalue().splitlines()
    rate, left = re.fullmatch(r"5/6 episodes, ([\d.]+)/s, (\d+) s left, success 4/4 100 % .*", line).groups()
    assert float(left) == pytest.approx(1 / max(float(rate), 0.01), abs=0.51)


def test_progress_is_not_flattered_by_the_episodes_that_end_first(monkeypatch):
    monkeypatch.setattr(eval.observers.progress, "SECONDS_BETWEEN_LINES", 0.0)
    stream = io.StringIO()
    progress = Progress(4, stream=stream)
    for index, status in ((1, "success"), (3, "success"), (0, "failure"), (2, "failure")):
        progress.on_episode_end(0, SimpleNamespace(episode_index=index, status=status))
    shown = [line.partition("s left, ")[2].split(" %")[0] for line in stream.getvalue().splitlines()]
    assert shown == ["success not yet known", "success not yet known", "success 1/2 50", "success 2/4 50"]


def test_progress_draws_a_bar_on_a_terminal(run):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    run(4, [Progress(4, stream=stream)])
    assert re.search(r"4/4 .*success 4/4 100 % \[51, 100\]", stream.getvalue())
