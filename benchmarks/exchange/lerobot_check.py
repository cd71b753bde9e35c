"""Release check of the LeRobot exchange against the real `lerobot` package; not part of CI, since it installs 7 GB.

In an environment of its own (lerobot pins another torch), from the root of a checkout::

    python -m venv lerobot-venv && lerobot-venv/bin/pip install lerobot==0.6.1
    python -m eval.collect --env pick-place-language --episodes 30 --action-noise 0.2 --output data/check
    lerobot-venv/bin/python -m benchmarks.exchange.lerobot_check data/check

Exports the dataset and compares what `lerobot` loads with what was collected: every array and image of every frame,
tasks, episode boundaries, windows that reach across them, statistics. Then `lerobot` records one dataset with embedded
images and one with video, and both are imported. Writes a table; the exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from lerobot.datasets.compute_stats import RunningQuantileStats
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from benchmarks.exchange.verdict import Row, conclude
from benchmarks.tables import RESULTS
from simscaleai.data import Dataset
from simscaleai.data.lerobot import export_lerobot, import_lerobot
from simscaleai.data.lerobot.statistics import QUANTILES

IMAGES = "observation.images."
WINDOW = 4
LENGTHS = (5, 8, 6)


def main() -> int:
    """Check the dataset named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dataset", type=Path, help="folder that eval.collect has written")
    source = parser.parse_args().dataset
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export_lerobot(source, folder / "exported", privileged=True)
        ours, theirs = Dataset(source), open_with_lerobot(folder / "exported")
        rows = [*boundaries(ours, theirs), *frames(ours, theirs)]
        rows += [*windows(ours, folder / "exported"), *statistics(ours, theirs)]
        for dtype, tolerance in (("image", 0.0), ("video", 8.0)):
            rows += imported(folder, dtype, tolerance)
    return conclude(RESULTS / "lerobot_check.csv", rows)


def open_with_lerobot(folder: Path, **options: Any) -> LeRobotDataset:
    """Return the dataset in `folder`, loaded with `lerobot`, offline."""
    return LeRobotDataset("local/check", root=folder, **options)


def exported_key(ours: Dataset, key: str) -> str:
    """Return the name that the export gives to the array `key`: simulator truth has a prefix of its own."""
    privileged = {f"observation.{name}" for name in ours.needs.privileged}
    return key.replace("observation.", "privileged.", 1) if key in privileged else key


def boundaries(ours: Dataset, theirs: LeRobotDataset) -> Iterator[Row]:
    """Compare the numbers of episodes and frames, the rate, and where episodes end."""
    yield "export: episodes", len(ours.episodes), theirs.num_episodes
    yield "export: frames", ours.num_frames, theirs.num_frames
    yield "export: frames per second", 1, int(theirs.fps == ours.needs.control_hz)
    ends = zip(theirs.meta.episodes["dataset_to_index"], ours.episode_ends, strict=True)
    yield "export: ends of episodes", len(ours.episodes), sum(its == mine for its, mine in ends)


def frames(ours: Dataset, theirs: LeRobotDataset) -> Iterator[Row]:
    """Compare every array, the task and the place of every frame."""
    equal = dict.fromkeys([*ours.array_types, "task", "place in the episode", "time"], 0)
    for frame in range(ours.num_frames):
        item, episode = theirs[frame], int(ours.episode_of_frame[frame])
        step = frame - int(ours.episode_ends[episode]) + ours.episodes[episode].length
        place = (int(item["episode_index"]), int(item["frame_index"]), int(item["index"]))
        equal["place in the episode"] += place == (episode, step, frame)
        equal["time"] += abs(float(item["timestamp"]) - step / theirs.fps) < 1e-4
        equal["task"] += item["task"] == ours.episodes[episode].metadata["instruction"]
        for key, values in ours.episode(episode).items():
            found = item[exported_key(ours, key)].numpy()
            if key.startswith(IMAGES):
                found = np.round(found.transpose(1, 2, 0) * 255).astype(np.uint8)
            equal[key] += found.dtype == values.dtype and np.array_equal(found, values[step])
    yield from ((f"export: {key}", ours.num_frames, count) for key, count in equal.items())


def windows(ours: Dataset, folder: Path) -> Iterator[Row]:
    """Compare windows of actions, which must be padded at the end of an episode."""
    times = [step / ours.needs.control_hz for step in range(WINDOW)]
    theirs, equal = open_with_lerobot(folder, delta_timestamps={"action": times}), 0
    for frame in range(ours.num_frames):
        last = int(ours.episode_ends[ours.episode_of_frame[frame]]) - 1
        steps, item = frame + np.arange(WINDOW), theirs[frame]
        is_same = np.array_equal(item["action"].numpy(), ours.vectors("action")[np.minimum(steps, last)])
        equal += is_same and np.array_equal(item["action_is_pad"].numpy(), steps > last)
    yield f"export: windows of {WINDOW} actions, padded at the ends of episodes", ours.num_frames, equal


def statistics(ours: Dataset, theirs: LeRobotDataset) -> Iterator[Row]:
    """Compare the statistics with those that `lerobot` computes from the same rows.

    Quantiles are compared with their definition instead, since the quantiles of `lerobot` are estimates.
    """
    names = ("min", "max", "mean", "std")
    equal = dict.fromkeys([*names, *QUANTILES], 0)
    for key in ours.array_types:
        image = key.startswith(IMAGES)
        rows = pixels(ours, key) if image else ours.vectors(key).astype(np.float64)
        running = RunningQuantileStats()
        running.update(rows)
        found, expected = theirs.meta.stats[exported_key(ours, key)], running.get_statistics()
        shape = (3, 1, 1) if image else rows.shape[1:]
        for name in names:
            is_close = np.allclose(found[name].ravel(), expected[name], rtol=1e-6, atol=1e-6)
            equal[name] += is_close and found[name].shape == shape
        for name, share in QUANTILES.items():
            value, slack = found[name].ravel(), 2 / len(rows)  # ours may lie between two rows
            is_above = ((rows <= value + 1e-9).mean(0) + slack >= share).all()
            equal[name] += is_above and ((rows < value - 1e-9).mean(0) - slack <= share).all()
    yield from ((f"statistics: {name} of each array", len(ours.array_types), int(n)) for name, n in equal.items())


def pixels(ours: Dataset, key: str) -> np.ndarray:
    """Return all pixels of a camera in [0, 1], shape (n, 3)."""
    return ours.gather(key, np.arange(ours.num_frames)).reshape(-1, 3) / 255


def imported(folder: Path, dtype: str, tolerance: float) -> Iterator[Row]:
    """Import a dataset that `lerobot` itself records; images may differ by `tolerance` of 255 in the mean."""
    features = {
        "observation.state": {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]},
        "observation.images.top": {"dtype": dtype, "shape": (64, 96, 3), "names": ["height", "width", "channels"]},
        "action": {"dtype": "float32", "shape": (2,), "names": {"motors": ["x", "y"]}},
    }
    recorded = folder / f"recorded-{dtype}"
    theirs = LeRobotDataset.create("local/check", 10, features, root=recorded, use_videos=dtype == "video")
    rng, episodes = np.random.default_rng(0), []
    for number, length in enumerate(LENGTHS):
        episodes.append([recorded_frame(rng, number, step) for step in range(length)])
        for frame in episodes[-1]:
            theirs.add_frame(frame | {"task": f"task {number % 2}"})
        theirs.save_episode()
    theirs.finalize()
    import_lerobot(recorded, folder / f"imported-{dtype}")
    ours, equal = Dataset(folder / f"imported-{dtype}"), dict.fromkeys([*features, "task"], 0)
    for number, given in enumerate(episodes):
        arrays = ours.episode(number)
        equal["task"] += ours.episodes[number].metadata["instruction"] == f"task {number % 2}"
        for key in features:
            wanted = np.stack([frame[key] for frame in given])
            difference = np.abs(arrays[key].astype(float) - wanted).mean()
            equal[key] += arrays[key].dtype == wanted.dtype and difference <= (tolerance if IMAGES in key else 0)
    yield from ((f"import with {dtype}s: {key}, episodes", len(LENGTHS), int(n)) for key, n in equal.items())


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
    raise SystemExit(main())
