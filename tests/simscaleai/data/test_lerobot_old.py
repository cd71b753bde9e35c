"""LeRobotDataset v2.1: one Parquet file and one video of each camera for each episode."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simscaleai.data import Dataset
from simscaleai.data.lerobot import import_lerobot
from simscaleai.errors import SimScaleError

LENGTHS = (6, 9, 5)
FPS = 10
TOP = "observation.images.top"
INFO = "meta/info.json"


def write_lines(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_video(path: Path, shades: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    film = imageio_ffmpeg.write_frames(str(path), (32, 16), fps=FPS, quality=10, macro_block_size=1)
    film.send(None)
    for shade in shades:
        film.send(np.full((16, 32, 3), shade, np.uint8).tobytes())
    film.close()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three episodes in chunks of two, with a camera as video."""
    folder, rng = tmp_path_factory.mktemp("recorded") / "old", np.random.default_rng(0)
    (folder / "meta").mkdir(parents=True)
    vector = {"dtype": "float32", "names": None}
    features = {"observation.state": vector | {"shape": [3]}, "action": vector | {"shape": [2]}}
    info = {
        "codebase_version": "v2.1", "robot_type": "so100", "total_episodes": 3, "fps": FPS, "chunks_size": 2,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": features | {TOP: {"dtype": "video", "shape": [16, 32, 3], "names": None}},
    }  # fmt: skip
    (folder / INFO).write_text(json.dumps(info))
    tasks = ["open it", "close it"]
    write_lines(folder / "meta/tasks.jsonl", [{"task_index": i, "task": task} for i, task in enumerate(tasks)])
    rows = [{"episode_index": i, "tasks": [tasks[i % 2]], "length": length} for i, length in enumerate(LENGTHS)]
    write_lines(folder / "meta/episodes.jsonl", rows)
    for number, length in enumerate(LENGTHS):
        chunk = f"chunk-{number // 2:03d}"
        columns = {
            "observation.state": pa.array(rng.normal(size=(length, 3)).tolist(), pa.list_(pa.float32())),
            "action": pa.array(rng.normal(size=(length, 2)).tolist(), pa.list_(pa.float32())),
            "timestamp": pa.array(np.arange(length) / FPS, pa.float32()),
            "frame_index": pa.array(np.arange(length)),
            "episode_index": pa.array(np.full(length, number)),
            "task_index": pa.array(np.full(length, number % 2)),
        }
        path = folder / f"data/{chunk}/episode_{number:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)
        shades = [60 * number + 10 * step for step in range(length)]
        write_video(folder / f"videos/{chunk}/{TOP}/episode_{number:06d}.mp4", shades)
    return folder


@pytest.fixture
def old(recorded: Path, tmp_path: Path) -> Path:
    """A copy of the dataset, to be changed."""
    return Path(shutil.copytree(recorded, tmp_path / "old"))


def test_every_episode_comes_from_its_files(old: Path, tmp_path: Path) -> None:
    import_lerobot(old, tmp_path / "out")
    ours = Dataset(tmp_path / "out")
    assert ours.provenance[0]["imported"] == "LeRobotDataset v2.1"
    assert [episode.length for episode in ours.episodes] == list(LENGTHS)
    assert [episode.metadata["instruction"] for episode in ours.episodes] == ["open it", "close it", "open it"]
    for number in range(3):
        arrays = ours.episode(number)
        table = pq.read_table(old / f"data/chunk-{number // 2:03d}/episode_{number:06d}.parquet")
        np.testing.assert_array_equal(arrays["action"], np.float32(table["action"].to_pylist()))
        shades = arrays[TOP].mean((1, 2, 3))
        np.testing.assert_allclose(shades, [60 * number + 10 * step for step in range(LENGTHS[number])], atol=3)


def changed(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


LAST = "data/chunk-001/episode_000002.parquet"
HOSTILE: dict[str, Callable[[Path], Any]] = {
    "no episodes": lambda folder: (folder / "meta/episodes.jsonl").unlink(),
    "no tasks": lambda folder: (folder / "meta/tasks.jsonl").unlink(),
    "half a line": lambda folder: (folder / "meta/episodes.jsonl").write_text('{"episode_index": 0'),
    "a list for a row": lambda folder: write_lines(folder / "meta/episodes.jsonl", [[], [], []]),
    "an episode twice": lambda folder: write_lines(
        folder / "meta/episodes.jsonl", [{"episode_index": 0, "tasks": [], "length": 6}] * 3
    ),
    "a missing file": lambda folder: (folder / LAST).unlink(),
    "a truncated file": lambda folder: (folder / LAST).write_bytes((folder / LAST).read_bytes()[:300]),
    "a missing video": lambda folder: (folder / f"videos/chunk-001/{TOP}/episode_000002.mp4").unlink(),
    "chunks of nothing": lambda folder: changed(folder / INFO, lambda info: info.update(chunks_size=0)),
    "paths of v3.0": lambda folder: changed(
        folder / INFO, lambda info: info.update(data_path="data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet")
    ),
    "a path out of the folder": lambda folder: changed(
        folder / INFO, lambda info: info.update(data_path="../{episode_chunk}/{episode_index}")
    ),
}


@pytest.mark.parametrize("harm", HOSTILE)
def test_a_hostile_dataset_gives_one_line_and_leaves_nothing(old: Path, tmp_path: Path, harm: str) -> None:
    HOSTILE[harm](old)
    with pytest.raises(SimScaleError) as caught:
        import_lerobot(old, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
