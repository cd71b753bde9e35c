"""Release check: a LeRobotDataset v2.1 that `lerobot` 0.3 records is imported with the values that `lerobot` reads.

In an environment of its own, with the last lerobot that writes v2.1::

    python -m venv lerobot-venv && lerobot-venv/bin/pip install lerobot==0.3.3
    lerobot-venv/bin/python -m benchmarks.exchange.lerobot_old_check

Records one dataset with embedded images and one with videos, imports both, and compares every frame: vectors and tasks
with what lerobot reads, images with what it was given to record (its reader of videos needs an older torchvision).
Writes a table; the exit code is 1 if anything differs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from lerobot.datasets.lerobot_dataset import CODEBASE_VERSION, LeRobotDataset

from benchmarks.exchange.verdict import Row, conclude
from benchmarks.tables import RESULTS
from simscaleai.data import Dataset
from simscaleai.data.lerobot import import_lerobot

TOP = "observation.images.top"
LENGTHS = (5, 8, 6)
LARGEST_DIFFERENCE = 8.0
"""Mean over the pixels of a frame of a video, of 255. An embedded image must be equal."""


def recorded(folder: Path, dtype: str) -> tuple[LeRobotDataset, list[np.ndarray]]:
    """Let lerobot record three episodes with smooth images; return them as it loads them, and the images."""
    features = {
        "observation.state": {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]},
        TOP: {"dtype": dtype, "shape": (64, 96, 3), "names": ["height", "width", "channels"]},
        "action": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]},
    }
    theirs = LeRobotDataset.create("local/check", 10, features, root=folder, use_videos=dtype == "video")
    rng, images = np.random.default_rng(0), []
    for number, length in enumerate(LENGTHS):
        for step in range(length):
            image = np.zeros((64, 96, 3), np.uint8)
            image[..., 0], image[..., 1], image[..., 2] = np.linspace(0, 120, 96), 25 * step, 60 * number
            vectors = {"observation.state": rng.normal(size=3), "action": 5 * rng.normal(size=2)}
            images.append(image)
            frame = {key: values.astype(np.float32) for key, values in vectors.items()}
            theirs.add_frame(frame | {TOP: image}, task=f"task {number % 2}")
        theirs.save_episode()
    return LeRobotDataset("local/check", root=folder, video_backend="pyav"), images


def compared(theirs: LeRobotDataset, given: list[np.ndarray], ours: Dataset, dtype: str) -> Iterator[Row]:
    """Compare every recorded frame with the imported one."""
    most = LARGEST_DIFFERENCE if dtype == "video" else 0.0
    equal = dict.fromkeys(("observation.state", "action", "task", TOP), 0)
    images = ours.gather(TOP, np.arange(ours.num_frames))
    for frame in range(ours.num_frames):
        item, episode = theirs.hf_dataset[frame], ours.episodes[int(ours.episode_of_frame[frame])]
        for key in ("observation.state", "action"):
            equal[key] += np.array_equal(item[key].numpy(), ours.vectors(key)[frame])
        equal["task"] += theirs.meta.tasks[int(item["task_index"])] == episode.metadata["instruction"]
        equal[TOP] += bool(np.abs(given[frame].astype(float) - images[frame]).mean() <= most)
    yield from ((f"{CODEBASE_VERSION} with {dtype}s: {key}", theirs.num_frames, count) for key, count in equal.items())


def main() -> int:
    """Record, import, compare, and return 1 if anything differs."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for dtype in ("image", "video"):
            theirs, given = recorded(Path(folder) / dtype, dtype)
            import_lerobot(Path(folder) / dtype, Path(folder) / f"imported-{dtype}")
            rows += compared(theirs, given, Dataset(Path(folder) / f"imported-{dtype}"), dtype)
    return conclude(RESULTS / "lerobot_old_check.csv", rows)


if __name__ == "__main__":
    raise SystemExit(main())
