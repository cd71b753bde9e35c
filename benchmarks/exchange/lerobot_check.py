"""Release check of the LeRobot exchange against the real `lerobot` package; not part of CI, since it installs 7 GB.

In an environment of its own (lerobot pins another torch), from the root of a checkout::

    python -m venv lerobot-venv && lerobot-venv/bin/pip install lerobot==0.4.4
    python -m eval.collect --env pick-place-language --episodes 30 --action-noise 0.2 --output data/check
    lerobot-venv/bin/python -m benchmarks.exchange.lerobot_check data/check

Exports the dataset and compares what `lerobot` loads with what was collected: every array and image of every frame,
tasks, episode boundaries, windows that reach across them, statistics. Then `lerobot` records one dataset with embedded
images and one with video, and both are imported. Prints one line for each check. The first difference ends the command.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from lerobot.datasets.compute_stats import RunningQuantileStats
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from simscaleai.data import Dataset
from simscaleai.data.lerobot import export_lerobot, import_lerobot
from simscaleai.data.lerobot.statistics import QUANTILES

IMAGES = "observation.images."
WINDOW = 4


def main() -> None:
    """Check the dataset named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dataset", type=Path, help="folder that eval.collect has written")
    source = parser.parse_args().dataset
    with tempfile.TemporaryDirectory() as folder:
        export_lerobot(source, Path(folder) / "exported", privileged=True)
        ours, theirs = Dataset(source), open_with_lerobot(Path(folder) / "exported")
        check_boundaries(ours, theirs)
        check_frames(ours, theirs)
        check_windows(ours, Path(folder) / "exported")
        check_statistics(ours, theirs)
        for dtype, tolerance in (("image", 0.0), ("video", 8.0)):
            check_import(Path(folder), dtype, tolerance)


def open_with_lerobot(folder: Path, **options: Any) -> LeRobotDataset:
    """Return the dataset in `folder`, loaded with `lerobot`, offline."""
    return LeRobotDataset("local/check", root=folder, **options)


def exported_key(ours: Dataset, key: str) -> str:
    """Return the name that the export gives to the array `key`: simulator truth has a prefix of its own."""
    privileged = {f"observation.{name}" for name in ours.needs.privileged}
    return key.replace("observation.", "privileged.", 1) if key in privileged else key


def check_boundaries(ours: Dataset, theirs: LeRobotDataset) -> None:
    """Compare the numbers of episodes and frames, and where episodes begin and end."""
    assert theirs.num_episodes == len(ours.episodes)
    assert theirs.num_frames == ours.num_frames
    assert theirs.fps == ours.needs.control_hz
    assert list(theirs.meta.episodes["dataset_to_index"]) == ours.episode_ends.tolist()
    assert list(theirs.meta.episodes["length"]) == [record.length for record in ours.episodes]
    print(f"boundaries: {theirs.num_episodes} episodes, {theirs.num_frames} frames")


def check_frames(ours: Dataset, theirs: LeRobotDataset) -> None:
    """Compare every array and the task of every frame."""
    for frame in range(ours.num_frames):
        item, episode = theirs[frame], int(ours.episode_of_frame[frame])
        step = frame - int(ours.episode_ends[episode]) + ours.episodes[episode].length
        assert (int(item["episode_index"]), int(item["frame_index"]), int(item["index"])) == (episode, step, frame)
        assert abs(float(item["timestamp"]) - step / theirs.fps) < 1e-4
        assert item["task"] == ours.episodes[episode].metadata["instruction"]
        for key, values in ours.episode(episode).items():
            found = item[exported_key(ours, key)].numpy()
            if key.startswith(IMAGES):
                found = np.round(found.transpose(1, 2, 0) * 255).astype(np.uint8)
            assert found.dtype == values.dtype, key
            assert np.array_equal(found, values[step]), (key, frame)
    print(f"frames: all of {', '.join(ours.array_types)} equal bit for bit, all tasks equal")


def check_windows(ours: Dataset, folder: Path) -> None:
    """Compare windows of actions, which must be padded at the end of an episode."""
    times = [step / ours.needs.control_hz for step in range(WINDOW)]
    theirs = open_with_lerobot(folder, delta_timestamps={"action": times})
    for frame in range(ours.num_frames):
        last = int(ours.episode_ends[ours.episode_of_frame[frame]]) - 1
        steps = frame + np.arange(WINDOW)
        item = theirs[frame]
        assert np.array_equal(item["action"].numpy(), ours.vectors("action")[np.minimum(steps, last)])
        assert np.array_equal(item["action_is_pad"].numpy(), steps > last)
    print(f"windows: {WINDOW} actions from each frame, with the same padding at the ends of episodes")


def check_statistics(ours: Dataset, theirs: LeRobotDataset) -> None:
    """Compare the statistics with those that `lerobot` computes from the same rows.

    Quantiles are compared with their definition instead, since the quantiles of `lerobot` are estimates.
    """
    for key in ours.array_types:
        image = key.startswith(IMAGES)
        rows = pixels(ours, key) if image else ours.vectors(key).astype(np.float64)
        running = RunningQuantileStats()
        running.update(rows)
        found, expected = theirs.meta.stats[exported_key(ours, key)], running.get_statistics()
        assert found["count"].tolist() == [ours.num_frames], key
        for name in ("min", "max", "mean", "std"):
            assert found[name].shape == ((3, 1, 1) if image else rows.shape[1:]), (key, name)
            np.testing.assert_allclose(
                found[name].ravel(), expected[name], rtol=1e-6, atol=1e-6, err_msg=f"{key} {name}"
            )
        for name, share in QUANTILES.items():
            value, slack = found[name].ravel(), 2 / len(rows)  # ours may lie between two rows
            assert ((rows <= value + 1e-9).mean(0) + slack >= share).all(), (key, name)
            assert ((rows < value - 1e-9).mean(0) - slack <= share).all(), (key, name)
    print("statistics: minimum, maximum, mean, deviation as lerobot computes them, quantiles as defined")


def pixels(ours: Dataset, key: str) -> np.ndarray:
    """Return all pixels of a camera in [0, 1], shape (n, 3)."""
    return ours.gather(key, np.arange(ours.num_frames)).reshape(-1, 3) / 255


def check_import(folder: Path, dtype: str, tolerance: float) -> None:
    """Import a dataset that `lerobot` itself records; images may differ by `tolerance` of 255 in the mean."""
    features = {
        "observation.state": {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]},
        "observation.images.top": {"dtype": dtype, "shape": (64, 96, 3), "names": ["height", "width", "channels"]},
        "action": {"dtype": "float32", "shape": (2,), "names": {"motors": ["x", "y"]}},
    }
    recorded = folder / f"recorded-{dtype}"
    theirs = LeRobotDataset.create("local/check", 10, features, root=recorded, use_videos=dtype == "video")
    rng, episodes = np.random.default_rng(0), []
    for number, length in enumerate((5, 8, 6)):
        episodes.append([recorded_frame(rng, number, step) for step in range(length)])
        for frame in episodes[-1]:
            theirs.add_frame(frame | {"task": f"task {number % 2}"})
        theirs.save_episode()
    theirs.finalize()
    import_lerobot(recorded, folder / f"imported-{dtype}")
    ours = Dataset(folder / f"imported-{dtype}")
    for number, frames in enumerate(episodes):
        arrays = ours.episode(number)
        assert ours.episodes[number].metadata["instruction"] == f"task {number % 2}"
        for key in features:
            wanted = np.stack([frame[key] for frame in frames])
            limit = tolerance if key.startswith(IMAGES) else 0
            difference = np.abs(arrays[key].astype(float) - wanted)
            assert difference.mean() <= limit, (key, number, difference.mean())
            assert arrays[key].dtype == wanted.dtype
    print(f"import: a dataset with {dtype}s that lerobot recorded comes back")


def recorded_frame(rng: np.random.Generator, episode: int, step: int) -> dict[str, np.ndarray]:
    """Return one frame whose image is smooth and different from its neighbours'."""
    image = np.zeros((64, 96, 3), np.uint8)
    image[..., 0] = np.linspace(0, 120, 96)
    image[..., 1] = 25 * step
    image[..., 2] = 60 * episode
    return {
        "observation.state": rng.normal(size=3).astype(np.float32),
        "observation.images.top": image,
        "action": (5 * rng.normal(size=2)).astype(np.float32),
    }


if __name__ == "__main__":
    main()
