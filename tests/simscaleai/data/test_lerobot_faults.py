"""Imports believe the data: each way in which the metadata of others can differ from their frames."""

from __future__ import annotations

import io
import json
import os
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simscaleai.data import Dataset, DatasetError
from simscaleai.data.lerobot import ImportOptions, export_lerobot, import_lerobot
from simscaleai.data.lerobot.layout import fill_pattern
from simscaleai.data.lerobot.video import read_video

LENGTHS = (6, 8)
FRAMES = sum(LENGTHS)
FPS = 10
TOP = "observation.images.top"
DATA, EPISODES, TASKS = (
    *("data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet", "meta/tasks.parquet"),
)


def lists(rows: Any, kind: pa.DataType | None = None) -> pa.Array:
    return pa.array(np.asarray(rows).tolist() if kind is None else rows, pa.list_(kind or pa.float32()))


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def images(pixels: list[Any]) -> pa.Array:
    return pa.array([{"bytes": each if isinstance(each, bytes) else png(each), "path": None} for each in pixels])


def feature(shape: Any, dtype: str = "float32", names: Any = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "names": names}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """A LeRobotDataset of two episodes. None removes a column, a feature or an entry of info.json."""

    def make(
        *,
        columns: Mapping[str, Any] | None = None,
        features: Mapping[str, Any] | None = None,
        info: Mapping[str, Any] | None = None,
        rows: Mapping[str, Any] | None = None,
        tasks: Mapping[str, Any] | None = None,
    ) -> Path:
        folder, rng = tmp_path / "source", np.random.default_rng(0)
        all_columns: dict[str, Any] = {
            "observation.state": lists(rng.normal(size=(FRAMES, 5))),
            "action": lists(rng.uniform(-1, 1, (FRAMES, 4))),
            "timestamp": pa.array(np.concatenate([np.arange(n) / FPS for n in LENGTHS]), pa.float32()),
            "frame_index": pa.array(np.concatenate([np.arange(n) for n in LENGTHS])),
            "episode_index": pa.array(np.repeat([0, 1], LENGTHS)),
            "index": pa.array(np.arange(FRAMES)),
            "task_index": pa.array(np.repeat([0, 1], LENGTHS)),
        }
        all_features = {"observation.state": feature([5]), "action": feature([4])}
        all_rows: dict[str, Any] = {
            "episode_index": [0, 1], "length": list(LENGTHS), "tasks": [["open it"], ["close it"]],
            "data/chunk_index": [0, 0], "data/file_index": [0, 0],
        }  # fmt: skip
        all_info = {
            "codebase_version": "v3.0", "robot_type": "so100", "total_episodes": 2, "fps": FPS,
            "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
            "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        }  # fmt: skip

        def changed(values: Mapping[str, Any], changes: Mapping[str, Any] | None) -> dict[str, Any]:
            return {name: value for name, value in {**values, **(changes or {})}.items() if value is not None}

        for path, table in {
            DATA: changed(all_columns, columns),
            EPISODES: changed(all_rows, rows),
            TASKS: changed({"task_index": [0, 1], "task": ["open it", "close it"]}, tasks),
        }.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(table), folder / path)
        data = changed(all_info | {"features": changed(all_features, features)}, info)
        (folder / "meta/info.json").write_text(json.dumps(data))
        return folder

    return make


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    """Imports a folder that must be refused in one line, and leave nothing; returns the line."""

    def refused(folder: Path, **options: Any) -> str:
        with pytest.raises(DatasetError) as caught:
            import_lerobot(folder, tmp_path / "refused", ImportOptions(**options))
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "refused").exists()
        return str(caught.value)

    return refused


@pytest.fixture
def imported(tmp_path: Path) -> Callable[..., tuple[Dataset, str]]:
    """Imports a folder; returns the dataset and the notes."""

    def imported(folder: Path, **options: Any) -> tuple[Dataset, str]:
        notes = import_lerobot(folder, tmp_path / "imported", ImportOptions(**options))
        return Dataset(tmp_path / "imported"), "\n".join(notes)

    return imported


def instructions(dataset: Dataset) -> list[str]:
    return [episode.metadata["instruction"] for episode in dataset.episodes]


@pytest.mark.parametrize(
    "rows",
    [{"tasks": None}, {"tasks": [["open it"], ["open it"]]}, {"tasks": [["open it", "close it"], ["close it"]]}],
)
def test_the_task_is_that_of_the_frames(make: Any, imported: Any, rows: Any) -> None:
    assert instructions(imported(make(rows=rows))[0]) == ["open it", "close it"]


def test_without_a_task_of_the_frames_that_of_the_episode_counts(make: Any, imported: Any) -> None:
    assert instructions(imported(make(columns={"task_index": None}))[0]) == ["open it", "close it"]


def test_frames_of_an_unknown_task_are_refused(make: Any, refused: Any) -> None:
    assert "a frame has the task 7, which" in refused(make(columns={"task_index": pa.array([0] * 13 + [7])}))


def test_one_number_for_two_tasks_is_refused(make: Any, refused: Any) -> None:
    assert "each task_index one text" in refused(make(tasks={"task_index": [0, 0]}))


def test_an_episode_whose_task_changes_becomes_several(make: Any, imported: Any) -> None:
    changes = pa.array([0, 0, 1, 1, 1, 0, *[1] * 8])
    folder = make(columns={"task_index": changes})
    dataset, notes = imported(folder)
    assert instructions(dataset) == ["open it", "close it", "open it", "close it"]
    assert [episode.length for episode in dataset.episodes] == [2, 3, 1, 8]
    assert [episode.metadata["source_episode"] for episode in dataset.episodes] == [0, 0, 0, 1]
    assert [episode.metadata["source_first_frame"] for episode in dataset.episodes] == [0, 2, 5, 0]
    actions = np.array(pq.read_table(folder / DATA)["action"].to_pylist(), np.float32)
    np.testing.assert_array_equal(dataset.vectors("action"), actions)
    assert "the task changes within episodes" in notes


@pytest.mark.parametrize("key", ["observation.state", "action"])
@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[9.0] * 3, [7.0] * 5, *[[1.0] * 4] * 12], "lists have 3 to 5 entries"),
        ([[1.0, None], *[[1.0, 2.0]] * 13], "a value is missing"),
        ([None, *[[1.0, 2.0]] * 13], "a value is missing"),
        ([[1.0, float("nan")], *[[1.0, 2.0]] * 13], "not finite"),
    ],
)
def test_lists_that_are_no_rows_are_refused(make: Any, refused: Any, key: str, rows: Any, said: str) -> None:
    assert said in refused(make(columns={key: lists(rows, pa.float32())}))


def test_texts_for_numbers_are_refused(make: Any, refused: Any) -> None:
    assert "expected numbers, got string" in refused(make(columns={"action": lists([["a"]] * FRAMES, pa.string())}))


def test_the_data_say_how_many_numbers_there_are(make: Any, imported: Any) -> None:
    dataset, _ = imported(make(features={"action": feature([9], names=list("abcdefghi"))}))
    assert dataset.vectors("action").shape == (FRAMES, 4)
    assert dataset.needs.action == "action, meaning and units unknown"


def test_whole_numbers_are_not_rounded_without_a_word(make: Any, refused: Any, imported: Any) -> None:
    ticks = np.full((FRAMES, 2), 2**24 + 1)
    assert "which float32 would round" in refused(make(columns={"action": lists(ticks.tolist(), pa.int64())}))
    dataset, _ = imported(make(columns={"action": lists((ticks - 1).tolist(), pa.int64())}))
    assert (dataset.vectors("action") == 2**24).all()


PARTS = {
    "observation.state": {"observation.state.arm": 3, "observation.state.gripper": 1},
    "action": {"action.arm": 3, "action.gripper": 1},
}


@pytest.mark.parametrize("key", PARTS)
@pytest.mark.parametrize("is_renamed", [False, True])
def test_a_vector_in_parts_is_joined_with_names(make: Any, imported: Any, key: str, is_renamed: bool) -> None:
    sizes = PARTS[key]
    columns = {name: lists(np.full((FRAMES, size), number)) for number, (name, size) in enumerate(sizes.items())}
    features = {name: feature([size], names=["x", "y", "z"][:size]) for name, size in sizes.items()}
    folder = make(columns={key: None, **columns}, features={key: None, **features})
    order = list(reversed(sizes)) if is_renamed else list(sizes)
    dataset, notes = imported(folder, rename=dict.fromkeys(order, key) if is_renamed else {})
    expected = [1, 0, 0, 0] if is_renamed else [0, 0, 0, 1]
    assert (dataset.vectors(key) == expected).all()
    names = ["gripper.x", "arm.x", "arm.y", "arm.z"] if is_renamed else ["arm.x", "arm.y", "arm.z", "gripper.x"]
    if key == "action":
        assert dataset.needs.action == f"{' + '.join(names)}, meaning and units unknown"
    else:
        assert [found.name for found in dataset.needs.vectors["state"].features] == names
    assert "left out" not in notes


def test_a_part_that_is_renamed_onto_a_whole_vector_is_refused(make: Any, refused: Any) -> None:
    folder = make(columns={"extra": lists(np.zeros((FRAMES, 1)))}, features={"extra": feature([1])})
    assert "would both be 'action'" in refused(folder, rename={"extra": "action"})


RNG = np.random.default_rng(0)
DEEP_GREY = RNG.integers(300, 2000, (20, 30)).astype(np.uint16)


def deep_colours() -> bytes:
    """Return a PNG of 20×30 pixels with three channels of 16 bits."""
    rows = b"".join(b"\0" + RNG.integers(0, 2**16, 30 * 3).astype(">u2").tobytes() for _ in range(20))
    return make_png(30, 20, rows, depth=16)


def make_png(width: int, height: int, rows: bytes, depth: int = 8) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("picture", [DEEP_GREY, deep_colours()])
def test_cameras_of_16_bits_are_left_out_with_a_word(make: Any, imported: Any, refused: Any, picture: Any) -> None:
    colour = RNG.integers(0, 255, (20, 30, 3), dtype=np.uint8)
    depth = "observation.images.depth"
    folder = make(
        columns={TOP: images([colour] * FRAMES), depth: images([picture] * FRAMES)},
        features={TOP: feature([20, 30, 3], "image"), depth: feature([20, 30, 1], "image")},
    )
    assert "16 bits deep, more than the 8 bits" in refused(folder, cameras=("top", "depth"))
    dataset, notes = imported(folder)
    assert list(dataset.needs.cameras) == ["top"]
    assert "camera depth is left out: its pixels are 16 bits deep" in notes


def test_a_later_image_of_16_bits_is_refused(make: Any, refused: Any) -> None:
    pictures = [np.zeros((20, 30, 3), np.uint8)] * (FRAMES - 1)
    folder = make(columns={TOP: images([*pictures, DEEP_GREY])}, features={TOP: feature([20, 30, 3], "image")})
    assert "damaged at episode 1, observation.images.top" in refused(folder)


@pytest.mark.parametrize(
    "described",
    [
        feature([3, 20, 30], "image"),
        feature([3, 20, 30], "image", ["channels", "height", "width"]),
        feature([30, 20, 3], "image", ["height", "width", "channels"]),
        feature([], "image"),
        feature([99, 99, 3], "image", {"a": [["height"]]}),
    ],
)
def test_the_images_say_how_large_they_are(make: Any, imported: Any, described: Any) -> None:
    pictures = [RNG.integers(0, 255, (20, 30, 3), dtype=np.uint8) for _ in range(FRAMES)]
    dataset, _ = imported(make(columns={TOP: images(pictures)}, features={TOP: described}))
    assert dataset.needs.cameras == {"top": (20, 30)}
    np.testing.assert_array_equal(dataset.vectors(TOP), pictures)


def test_images_of_several_sizes_are_refused_unless_a_size_is_given(make: Any, refused: Any, imported: Any) -> None:
    for sizes in ([(20, 30)] * 13 + [(10, 30)], [(20, 30)] * 6 + [(10, 30)] * 8):
        pictures = [np.zeros((*size, 3), np.uint8) for size in sizes]
        folder = make(columns={TOP: images(pictures)}, features={TOP: feature([20, 30, 3], "image")})
        refused(folder)
    assert imported(folder, image_size=(16, 16))[0].needs.cameras == {"top": (16, 16)}


@pytest.mark.parametrize("size", [(60000, 60000), (5000, 8), (8, 5000)])
def test_a_small_file_that_claims_a_huge_image_is_refused(make: Any, refused: Any, size: tuple[int, int]) -> None:
    bomb = make_png(*size, b"\0" * 999)
    folder = make(columns={TOP: images([bomb] * FRAMES)}, features={TOP: feature([20, 30, 3], "image")})
    assert "damaged at episode 0, observation.images.top" in refused(folder)


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n\x1a\n", png(np.zeros((9, 9, 3), np.uint8))[:45], b"%!PS-Adobe-3.0"]
)
def test_what_is_no_image_is_refused(make: Any, refused: Any, data: bytes) -> None:
    folder = make(columns={TOP: images([data] * FRAMES)}, features={TOP: feature([9, 9, 3], "image")})
    assert "damaged at episode 0, observation.images.top" in refused(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fps": 0}, "frames per second from 1 to 10000, got 0"),
        ({"fps": -5}, "got -5"),
        ({"fps": 29.97}, "got 29.97"),
        ({"fps": 10**9}, "got 1000000000"),
        ({"fps": float("inf")}, "finite"),
        ({"fps": "10"}, 'expected fps of type float, got "10"'),
        ({"fps": True}, "expected fps of type float"),
        ({"fps": 30}, "its timestamps show 10 frames per second, meta/info.json says 30"),
        ({"total_episodes": 0}, "total_episodes 0"),
        ({"total_episodes": 10**12}, "2 episodes, 1000000000000 according to info.json"),
        ({"total_episodes": 10**400}, "according to info.json"),
        ({"features": {"a\x1b[2J": feature([1])}}, r"printable characters, got the feature 'a\x1b[2J'"),
        ({"features": []}, "info.json is damaged"),
        ({"features": {"action": 5}}, "info.json is damaged"),
        ({"codebase_version": None}, "info.json is damaged"),
        ({"data_path": "{chunk_index:>9999999999}"}, "expected a path with fields such as {chunk_index:03d}"),
        ({"data_path": "{chunk_index!r:9}"}, "expected a path with fields"),
        ({"data_path": "{chunk_index.__class__}"}, "expected a path with fields"),
        ({"data_path": "{0}"}, "damaged at episode 0"),
        ({"data_path": "../{file_index}"}, "lies outside the dataset"),
        ({"data_path": "/etc/passwd"}, "lies outside the dataset"),
        ({"data_path": 5}, "expected data_path of type str, got 5"),
        ({"data_path": "meta"}, "expected a regular file"),
    ],
)
def test_a_wrong_description_is_refused(make: Any, refused: Any, change: Any, said: str) -> None:
    folder = make(info={name: value for name, value in change.items() if value is not None})
    if None in change.values():
        path = folder / "meta/info.json"
        path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k not in change}))
    assert said in refused(folder)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "", "nul", '"\\ud800'])
@pytest.mark.parametrize("name", ["meta/info.json", "meta/simscaleai.json"])
def test_json_that_is_none_is_refused(make: Any, tmp_path: Path, name: str, text: str) -> None:
    folder = make()
    (folder / name).write_text(text)
    with pytest.raises(DatasetError, match=Path(name).name):
        import_lerobot(folder, tmp_path / "out")


def test_no_description_needs_more_memory_than_its_size(make: Any, tmp_path: Path) -> None:
    folder = make(info={"total_episodes": 10**12, "data_path": "{chunk_index:>99999999999}"})
    words = [sys.executable, "-m", "simscaleai.data", "import", str(folder), "--output", str(tmp_path / "out")]
    limit = (6 * 2**30, 6 * 2**30)
    done = subprocess.run(
        words, capture_output=True, text=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit)
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("name", [DATA, EPISODES, TASKS, "meta/info.json"])
@pytest.mark.parametrize("kind", ["pipe", "device", "nothing", "noise"])
def test_files_that_cannot_be_read_are_refused(make: Any, refused: Any, name: str, kind: str) -> None:
    folder = make()
    (folder / name).unlink()
    if kind == "pipe":
        os.mkfifo(folder / name)
    elif kind == "device":
        (folder / name).symlink_to("/dev/zero")
    elif kind == "noise":
        (folder / name).write_bytes(RNG.bytes(5000))
    refused(folder)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"timestamp": pa.array([0.0] * FRAMES)}, "timestamps do not ascend"),
        ({"timestamp": pa.array([float("nan")] * FRAMES)}, "timestamps do not ascend"),
        ({"frame_index": pa.array(np.arange(FRAMES))}, "frames are out of order"),
        ({"frame_index": pa.array([None] * FRAMES, pa.int64())}, "a value is missing"),
        ({"episode_index": pa.array([0] * 5 + [1] * 9)}, "5 frames, the table of episodes says 6"),
        ({"episode_index": None}, "KeyError"),
    ],
)
def test_frames_that_contradict_each_other_are_refused(make: Any, refused: Any, columns: Any, said: str) -> None:
    assert said in refused(make(columns=columns))


def test_steps_of_other_lengths_are_mentioned(make: Any, imported: Any) -> None:
    times = np.concatenate([np.arange(n) / FPS for n in LENGTHS])
    times[4:6] += 0.3
    assert "1 steps are longer or shorter than 1/10 s" in imported(make(columns={"timestamp": pa.array(times)}))[1]


def test_times_may_be_missing(make: Any, imported: Any) -> None:
    assert imported(make(columns={"timestamp": None}))[0].num_frames == FRAMES


def write_video(path: Path, greys: list[int], fps: float, *options: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    film = imageio_ffmpeg.write_frames(
        str(path), (32, 16), fps=fps, quality=10, macro_block_size=1, output_params=list(options)
    )
    film.send(None)
    for grey in greys:
        film.send(np.full((16, 32, 3), grey, np.uint8).tobytes())
    film.close()


def with_video(make: Any, greys: list[int], fps: float, starts: tuple[float, float], *options: str) -> Path:
    """Return a dataset whose camera is a video; its episodes begin there at `starts` [s]."""
    prefix = f"videos/{TOP}/"
    ends = [start + length / FPS for start, length in zip(starts, LENGTHS, strict=True)]
    rows = {"chunk_index": [0, 0], "file_index": [0, 0], "from_timestamp": list(starts), "to_timestamp": ends}
    folder: Path = make(
        features={TOP: feature([16, 32, 3], "video")}, rows={prefix + name: value for name, value in rows.items()}
    )
    write_video(folder / f"videos/{TOP}/chunk-000/file-000.mp4", greys, fps, *options)
    return folder


def greys_of(dataset: Dataset) -> list[int]:
    return [round(float(image.mean()) / 10) * 10 for image in dataset.vectors(TOP)]


EXPECTED = [10 + 10 * step for step in range(FRAMES)]


@pytest.mark.parametrize("options", [(), ("-bf", "3", "-g", "12"), ("-g", "1"), ("-output_ts_offset", "7")])
@pytest.mark.parametrize(("fps", "factor"), [(10, 1), (30, 3), (50, 5)])
def test_frames_of_a_video_are_found_by_their_time(
    make: Any, imported: Any, fps: float, factor: int, options: tuple[str, ...]
) -> None:
    late = 7.0 if "-output_ts_offset" in options else 0.0
    greys = [grey for grey in [0] * 20 + EXPECTED + [200] * 20 for _ in range(factor)]
    dataset, _ = imported(with_video(make, greys, fps, (late + 2.0, late + 2.6), *options))
    assert greys_of(dataset) == EXPECTED


@pytest.mark.parametrize(
    ("fps", "starts", "said"),
    [
        (5, (0.0, 0.6), "has no frame within 0.05 s of 0.100 s"),
        (10, (0.0, 0.9), "has no frame within 0.05 s of 1.400 s"),
        (10, (0.0, 60.0), "has no frame within 0.05 s"),
    ],
)
def test_a_video_without_a_frame_at_a_time_is_refused(
    make: Any, refused: Any, fps: float, starts: tuple[float, float], said: str
) -> None:
    assert said in refused(with_video(make, EXPECTED, fps, starts))


def test_frames_beyond_the_end_of_their_episode_in_a_video_are_refused(make: Any, refused: Any) -> None:
    folder = with_video(make, EXPECTED, FPS, (0.0, 0.6))
    table = pq.read_table(folder / EPISODES)
    number = table.column_names.index(f"videos/{TOP}/to_timestamp")
    pq.write_table(table.set_column(number, table.column_names[number], pa.array([0.3, 1.4])), folder / EPISODES)
    assert "of a video, in which it ends at 0.300 s" in refused(folder)


def test_a_video_of_16_bits_is_left_out_with_a_word(make: Any, imported: Any, refused: Any) -> None:
    folder = with_video(make, EXPECTED, FPS, (0.0, 0.6))
    path = folder / f"videos/{TOP}/chunk-000/file-000.mp4"
    words = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-i", str(path), "-pix_fmt", "gray16le", "-c:v", "ffv1"]
    subprocess.run([*words, str(path.with_suffix(".mkv"))], check=True, capture_output=True)
    path.with_suffix(".mkv").rename(path)
    assert "its pixels are gray16le" in refused(folder, cameras=("top",))
    dataset, notes = imported(folder)
    assert not dataset.needs.cameras
    assert "camera top is left out: its pixels are gray16le" in notes


@pytest.mark.parametrize("note", [{"is_depth_map": True}, {"video.is_depth_map": True}])
def test_distances_in_a_video_of_colours_are_left_out_with_a_word(make: Any, imported: Any, note: Any) -> None:
    folder = with_video(make, EXPECTED, FPS, (0.0, 0.6))
    path = folder / "meta/info.json"
    info = json.loads(path.read_text())
    info["features"][TOP]["info"] = note
    path.write_text(json.dumps(info))
    dataset, notes = imported(folder)
    assert not dataset.needs.cameras
    assert "camera top is left out: its pixels are distances" in notes


def test_many_frames_of_a_video_come_back_in_order(tmp_path: Path) -> None:
    greys = [(7 * step) % 250 for step in range(200)]
    write_video(tmp_path / "video.mp4", greys, 20)
    images = read_video(tmp_path / "video.mp4", np.arange(200) / 20, 0.025)
    assert np.abs(images.mean(axis=(1, 2, 3)) - greys).max() < 3


def test_without_ffmpeg_the_message_says_so(make: Any, refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = with_video(make, EXPECTED, FPS, (0.0, 0.6))

    def fail() -> str:
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", fail)
    assert "videos need ffmpeg, and none is installed" in refused(folder)


def test_patterns_are_filled_as_python_would() -> None:
    values = {"chunk_index": 7, "file_index": 12, "video_key": "observation.images.top"}
    for pattern in ("{video_key}/{chunk_index:03d}-{file_index}.mp4", "{chunk_index:06d}", "plain"):
        assert fill_pattern(pattern, values) == pattern.format(**values)


def test_an_export_hides_simulator_truth_unless_it_is_asked_for(
    tmp_path: Path, make_needs: Any, make_dataset: Any
) -> None:
    source = make_dataset(tmp_path / "ours", make_needs(cameras=("front",)))
    for name, privileged in (("without", False), ("with", True)):
        export_lerobot(source, tmp_path / name, privileged=privileged)
        features = json.loads((tmp_path / name / "meta/info.json").read_text())["features"]
        assert ("privileged.environment_state" in features) == privileged
        assert "observation.environment_state" not in features
        assert ('"environment_state"' in (tmp_path / name / "meta/simscaleai.json").read_text()) == privileged
        import_lerobot(tmp_path / name, tmp_path / f"{name}-again")
    whole, reduced = Dataset(tmp_path / "with-again"), Dataset(tmp_path / "without-again")
    assert whole.digest == Dataset(source).digest
    assert (reduced.needs.privileged, list(reduced.needs.vectors)) == ((), ["state"])
    assert reduced.array_types.keys() == whole.array_types.keys() - {"observation.environment_state"}
    for key in reduced.array_types:
        np.testing.assert_array_equal(reduced.vectors(key), whole.vectors(key))


def test_an_export_from_before_the_truth_had_a_name_of_its_own_comes_back(
    tmp_path: Path, make_needs: Any, make_dataset: Any
) -> None:
    source = make_dataset(tmp_path / "ours", make_needs())
    export_lerobot(source, tmp_path / "old", privileged=True)
    table = pq.read_table(tmp_path / "old" / DATA)
    names = [name.replace("privileged.", "observation.") for name in table.column_names]
    pq.write_table(table.rename_columns(names), tmp_path / "old" / DATA)
    info = tmp_path / "old/meta/info.json"
    info.write_text(info.read_text().replace("privileged.", "observation."))
    import_lerobot(tmp_path / "old", tmp_path / "again")
    assert Dataset(tmp_path / "again").digest == Dataset(source).digest


def test_a_path_that_is_no_utf_8_is_refused(tmp_path: Path, make: Any, make_needs: Any, make_dataset: Any) -> None:
    source = make_dataset(tmp_path / "ours", make_needs())
    with pytest.raises(DatasetError, match="expected a path in UTF-8"):
        export_lerobot(source, tmp_path / "out\udcff")
    make().rename(tmp_path / "in\udcff")
    with pytest.raises(DatasetError, match="expected a path in UTF-8"):
        import_lerobot(tmp_path / "in\udcff", tmp_path / "again")
    make()
    import_lerobot(tmp_path / "source", tmp_path / "again\udcff")
    assert Dataset(tmp_path / "again\udcff").num_frames == FRAMES


def test_hidden_files_that_macos_adds_are_no_data(make: Any, imported: Any) -> None:
    folder = make()
    for path in [*folder.rglob("*.parquet"), folder / "meta/info.json"]:
        (path.parent / f"._{path.name}").write_bytes(b"Mac OS X")
        (path.parent / ".DS_Store").touch()
    assert len(imported(folder)[0].episodes) == 2


def test_a_path_with_a_colon_is_no_address(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make().rename(tmp_path / "s3:source")
    monkeypatch.chdir(tmp_path)
    import_lerobot(Path("s3:source"), Path("a:b"))
    export_lerobot(Path("a:b"), Path("c:d"))
    import_lerobot(Path("c:d"), Path("e:f"))
    assert Dataset("e:f").digest == Dataset("a:b").digest


def test_a_video_with_damaged_bytes_is_refused(tmp_path: Path) -> None:
    """Otherwise ffmpeg fills the damaged places with whatever is near, and says so only in its log."""
    film = tmp_path / "film.mp4"
    blocks = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    writer = imageio_ffmpeg.write_frames(str(film), (128, 128), fps=FPS)
    writer.send(None)
    for step in range(20):
        writer.send(np.ascontiguousarray(np.roll(blocks, 3 * step, 1)))
    writer.close()
    data, times = bytearray(film.read_bytes()), np.arange(20) / FPS
    assert len(read_video(film, times, 0.05)) == 20
    for start in range(len(data) // 4, len(data), len(data) // 8):
        data[start : start + 8] = bytes(byte ^ 0x5A for byte in data[start : start + 8])
    film.write_bytes(data)
    with pytest.raises(OSError, match="cannot be read"):
        read_video(film, times, 0.05)
