"""LeRobotDataset v3.0: every field of what we write, and reading back ours and others'."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simscaleai.contract import Feature, Layout, Needs
from simscaleai.data import Dataset, DatasetError, DatasetWriter
from simscaleai.data.lerobot import ImportOptions, export_lerobot, exporter, import_lerobot
from simscaleai.errors import SimScaleError

FRAMES = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


@pytest.fixture
def source(tmp_path: Path, make_needs: Any, make_episode: Any, make_metadata: Any) -> Path:
    """Episodes 0, 2, 3 of 5, 7, 5 steps with two cameras and two instructions; 1 was discarded."""
    needs = make_needs(cameras=("front", "wrist"))
    with DatasetWriter(tmp_path / "source", needs, provenance={"policy": "me", "noise": 0.1}) as writer:
        for index, (length, text) in {0: (5, "left"), 2: (7, "right"), 3: (5, "left")}.items():
            arrays = make_episode(needs, seed=index, length=length)
            writer.write_episode(arrays, make_metadata(index, instruction=text, digest=f"d{index}"), index)
        writer.discard_episode(make_metadata(1, success=False), 1)
    return tmp_path / "source"


@pytest.fixture
def exported(source: Path, tmp_path: Path) -> Path:
    export_lerobot(source, tmp_path / "exported", privileged=True)
    return tmp_path / "exported"


def test_an_export_of_version_1_comes_back(
    contents: Any, source: Path, exported: Path, tmp_path: Path, rewrite_export_as_version_1: Any
) -> None:
    rewrite_export_as_version_1(exported, Dataset(source).needs)
    assert import_lerobot(exported, tmp_path / "back") == []
    assert contents(tmp_path / "back") == contents(source)


def test_a_control_rate_that_is_no_whole_number_cannot_be_exported(
    tmp_path: Path, make_needs: Any, make_dataset: Any
) -> None:
    folder = make_dataset(tmp_path / "source", make_needs(control_hz=12.5))
    assert Dataset(folder).needs.control_hz == 12.5
    with pytest.raises(DatasetError, match=r"whole number of steps per second to export, got 12\.5"):
        export_lerobot(folder, tmp_path / "out")


def test_info(exported: Path) -> None:
    info = json.loads((exported / "meta/info.json").read_text())
    features = info.pop("features")
    assert info == {
        "codebase_version": "v3.0",
        "robot_type": None,
        "total_episodes": 3,
        "total_frames": 17,
        "total_tasks": 2,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": 20,
        "splits": {"train": "0:3"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
    }
    image = {"dtype": "image", "shape": [8, 8, 3], "names": ["height", "width", "channels"]}
    number = {"dtype": "int64", "shape": [1], "names": None}
    assert features == {
        "action": {"dtype": "float32", "shape": [4], "names": None},
        "executed_action": {"dtype": "float32", "shape": [4], "names": None},
        "privileged.environment_state": {"dtype": "float32", "shape": [2], "names": ["goal.0", "goal.1"]},
        "observation.images.front": image,
        "observation.images.wrist": image,
        "observation.state": {"dtype": "float32", "shape": [3], "names": ["position.0", "position.1", "position.2"]},
        "timestamp": number | {"dtype": "float32"},
        "frame_index": number,
        "episode_index": number,
        "index": number,
        "task_index": number,
    }


def test_frames(source: Path, exported: Path) -> None:
    table, dataset = pq.read_table(exported / FRAMES), Dataset(source)
    np.testing.assert_array_equal(table["index"], np.arange(17))
    np.testing.assert_array_equal(table["episode_index"], [0] * 5 + [1] * 7 + [2] * 5)
    np.testing.assert_array_equal(table["task_index"], [0] * 5 + [1] * 7 + [0] * 5)
    steps = [*range(5), *range(7), *range(5)]
    np.testing.assert_array_equal(table["frame_index"], steps)
    np.testing.assert_array_equal(table["timestamp"], np.array(steps, np.float32) / np.float32(20))
    for key in ("action", "executed_action", "observation.state", "privileged.environment_state"):
        values = dataset.vectors(key.replace("privileged", "observation"))
        assert table.schema.field(key).type == pa.list_(pa.float32(), values.shape[1])
        np.testing.assert_array_equal(np.array(table[key].to_pylist(), np.float32), values)
    for key in ("observation.images.front", "observation.images.wrist"):
        assert table.schema.field(key).type == pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        rows = table[key].to_pylist()
        pictures = [PIL.Image.open(io.BytesIO(row["bytes"])) for row in rows]
        assert {picture.format for picture in pictures} == {"PNG"}
        np.testing.assert_array_equal(np.stack(list(map(np.asarray, pictures))), dataset.vectors(key))
        assert len({row["path"] for row in rows}) == 17
    assert pq.ParquetFile(exported / FRAMES).num_row_groups == 3
    note = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert note["observation.images.front"] == {"_type": "Image"}
    assert note["action"] == {"feature": {"dtype": "float32", "_type": "Value"}, "length": 4, "_type": "Sequence"}
    assert note["index"] == {"dtype": "int64", "_type": "Value"}


def test_tasks_are_what_pandas_would_write(exported: Path) -> None:
    table = pq.read_table(exported / "meta/tasks.parquet")
    assert table.to_pydict() == {"task_index": [0, 1], "__index_level_0__": ["left", "right"]}
    note = json.loads(table.schema.metadata[b"pandas"])
    assert note["index_columns"] == ["__index_level_0__"]
    assert [column["field_name"] for column in note["columns"]] == ["task_index", "__index_level_0__"]


def test_episodes(exported: Path) -> None:
    rows = pq.read_table(exported / EPISODES).to_pylist()
    assert [row["episode_index"] for row in rows] == [0, 1, 2]
    assert [row["tasks"] for row in rows] == [["left"], ["right"], ["left"]]
    assert [row["length"] for row in rows] == [5, 7, 5]
    assert [(row["dataset_from_index"], row["dataset_to_index"]) for row in rows] == [(0, 5), (5, 12), (12, 17)]
    for name in ("data/chunk_index", "data/file_index", "meta/episodes/chunk_index", "meta/episodes/file_index"):
        assert [row[name] for row in rows] == [0, 0, 0]


def check_vector(found: dict[str, Any], rows: np.ndarray) -> None:
    rows = rows.reshape(len(rows), -1).astype(np.float64)
    assert found["count"] == [len(rows)]
    for name in ("min", "max", "mean", "std"):
        np.testing.assert_allclose(found[name], getattr(rows, name)(0), rtol=1e-12, atol=1e-12)
    for name, share in QUANTILES.items():
        np.testing.assert_allclose(found[name], np.quantile(rows, share, axis=0), rtol=1e-12)


def check_images(found: dict[str, Any], images: np.ndarray) -> None:
    pixels = images.reshape(-1, 3).astype(np.float64) / 255
    assert found["count"] == [len(images)]
    for name in ("min", "max", "mean", "std"):
        assert np.shape(found[name]) == (3, 1, 1)
        np.testing.assert_allclose(np.ravel(found[name]), getattr(pixels, name)(0), rtol=1e-9)
    for name, share in QUANTILES.items():
        expected = np.quantile(pixels, share, axis=0, method="inverted_cdf")
        np.testing.assert_allclose(np.ravel(found[name]), expected, rtol=1e-9)


def test_statistics_of_each_episode_and_of_all(source: Path, exported: Path) -> None:
    dataset, table = Dataset(source), pq.read_table(exported / FRAMES)
    features = json.loads((exported / "meta/info.json").read_text())["features"]
    stats = json.loads((exported / "meta/stats.json").read_text())
    rows = pq.read_table(exported / EPISODES).to_pylist()
    assert stats.keys() == features.keys()
    ends = [0, *dataset.episode_ends.tolist()]
    for key in features:
        check = check_images if "images" in key else check_vector
        own = key.replace("privileged", "observation")
        values = dataset.vectors(own) if own in dataset.array_types else table[key].to_numpy()
        check(stats[key], values)
        assert stats[key].keys() == {"min", "max", "mean", "std", "count", *QUANTILES}
        for number, row in enumerate(rows):
            found = {name: row[f"stats/{key}/{name}"] for name in stats[key]}
            check(found, values[ends[number] : ends[number + 1]])


def test_what_lerobot_has_no_place_for_lies_beside(source: Path, exported: Path) -> None:
    own = json.loads((exported / "meta/simscaleai.json").read_text())
    dataset = Dataset(source)
    assert own["needs"] == dataset.needs.to_json()
    assert own["provenance"] == {"policy": "me", "noise": 0.1}
    assert [entry["metadata"] for entry in own["episodes"]] == [record.metadata for record in dataset.episodes]
    assert [entry["episode_index"] for entry in own["discarded"]] == [1]


def test_full_files_are_followed_by_new_ones(
    contents: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "DATA_FILE_MEGABYTES", 1e-3)
    monkeypatch.setattr(exporter, "FILES_PER_CHUNK", 2)
    export_lerobot(source, tmp_path / "out", privileged=True)
    files = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out" / "data").rglob("*.parquet"))
    assert files == [FRAMES, "data/chunk-000/file-001.parquet", "data/chunk-001/file-000.parquet"]
    rows = pq.read_table(tmp_path / "out" / EPISODES).to_pylist()
    assert [(row["data/chunk_index"], row["data/file_index"]) for row in rows] == [(0, 0), (0, 1), (1, 0)]
    import_lerobot(tmp_path / "out", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(source)


def test_a_failing_export_leaves_nothing(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(tmp_path.iterdir())

    def fail(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(exporter, "_write_json", fail)
    with pytest.raises(KeyboardInterrupt):
        export_lerobot(source, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_nothing_is_overwritten(contents: Any, source: Path, exported: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    before = contents(tmp_path)
    for taken in (exported, source, tmp_path / "file"):
        with pytest.raises(SimScaleError, match=f"{taken.name} is (not empty|a file)"):
            export_lerobot(source, taken)
        with pytest.raises(SimScaleError, match=f"{taken.name} is (not empty|a file)"):
            import_lerobot(exported, taken)
    assert contents(tmp_path) == before
    (tmp_path / "empty").mkdir()
    export_lerobot(source, tmp_path / "empty")


def test_arrays_that_lerobot_cannot_hold_are_refused(
    tmp_path: Path, make_needs: Any, make_episode: Any, make_metadata: Any
) -> None:
    needs = make_needs()
    for name, extra in {"grid": np.zeros((6, 2, 2), np.float32), "index": np.zeros(6), "a/b": np.zeros(6)}.items():
        with DatasetWriter(tmp_path / name, needs) as writer:
            writer.write_episode(make_episode(needs, seed=0) | {name: extra}, make_metadata(0), 0)
        with pytest.raises(DatasetError, match=f"'{name}'"):
            export_lerobot(tmp_path / name, tmp_path / "out")


def edit_json(name: str, change: Callable[[Any], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = json.loads((folder / name).read_text())
        change(data)
        (folder / name).write_text(json.dumps(data))

    return damage


def edit_table(name: str, change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    return lambda folder: pq.write_table(change(pq.read_table(folder / name)), folder / name)


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-9])


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def replace_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    number = table.column_names.index(name)
    return table.set_column(number, table.schema.field(name), pa.array(values, table.schema.field(name).type))


def nudge_action(table: pa.Table) -> pa.Table:
    values = np.array(table["action"].to_pylist(), np.float32)
    values[7, 0] = np.nextafter(values[7, 0], np.float32(9))
    return replace_column(table, "action", values.tolist())


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (remove("meta/info.json"), "is no LeRobotDataset: it has no meta/info.json"),
        (lambda folder: (folder / "meta/info.json").write_text("{"), "info.json is damaged"),
        (lambda folder: (folder / "meta/info.json").write_bytes(b"\xff\xfe"), "info.json is damaged"),
        (edit_json("meta/info.json", lambda info: info.update(codebase_version="v2.0")), "LeRobotDataset v2.0"),
        (edit_json("meta/info.json", lambda info: info.update(fps=29.97)), "from 1 to 10000, got 29.97"),
        (edit_json("meta/info.json", lambda info: info.pop("features")), "info.json is damaged: KeyError 'features'"),
        (edit_json("meta/info.json", lambda info: info.update(total_episodes=4)), "3 episodes, 4 according to info"),
        (edit_json("meta/info.json", lambda info: info.update(total_episodes=0)), "got total_episodes 0"),
        (edit_json("meta/info.json", lambda info: info.update(data_path="../{chunk_index}{file_index}")), "outside"),
        (cut("meta/tasks.parquet"), "meta is damaged"),
        (remove("meta/tasks.parquet"), "meta is damaged"),
        (cut(EPISODES), "meta is damaged"),
        (remove(EPISODES), "0 episodes, 3 according"),
        (cut(FRAMES), "is damaged at episode 0"),
        (remove(FRAMES), "is damaged at episode 0"),
        (lambda folder: (folder / FRAMES).write_bytes(b""), "is damaged at episode 0"),
        (edit_table(FRAMES, lambda table: table.slice(0, 15)), "is damaged at episode 2.*3 frames.*says 5"),
        (edit_table(FRAMES, lambda table: table.drop_columns("action")), "is damaged at episode 0, action"),
        (edit_table(FRAMES, lambda table: table.take(list(range(16, -1, -1)))), "out of order"),
        (edit_table(FRAMES, nudge_action), "was changed after the export: episode 1"),
        (edit_table(
            FRAMES,
            lambda table: replace_column(table, "observation.images.front", [{"bytes": None, "path": "x.png"}] * 17),
        ), "an image is not embedded"),
        (edit_table(
            FRAMES,
            lambda table: replace_column(table, "observation.images.wrist", [{"bytes": b"no", "path": "x.png"}] * 17),
        ), "is damaged at episode 0, observation.images.wrist"),
        (lambda folder: (folder / "meta/simscaleai.json").write_text("[]"), "simscaleai.json does not fit"),
        (edit_json("meta/simscaleai.json", lambda own: own["episodes"].pop()), "lists 2 episodes, there are 3"),
        (edit_json("meta/simscaleai.json", lambda own: own.update(format_version=9)), "version 9"),
    ],
)  # fmt: skip
def test_damage_is_one_clear_line_and_leaves_nothing(
    contents: Any, exported: Path, tmp_path: Path, damage: Callable[[Path], None], text: str
) -> None:
    damage(exported)
    before = contents(tmp_path)
    with pytest.raises(DatasetError, match=text) as caught:
        import_lerobot(exported, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == before
    assert not list(tmp_path.glob(".*"))


JOINTS = ["shoulder", "elbow", "wrist"]
FOREIGN_NAMES = {"observation.state": {"motors": JOINTS}, "action": JOINTS}


@pytest.fixture
def make_foreign(tmp_path: Path) -> Callable[..., Path]:
    """LeRobotDatasets as others make them: list columns, actions in degrees, features of their own."""

    def make(
        *, state: str = "observation.state", images: dict[str, tuple[int, int]] | None = None, success: bool = False
    ) -> Path:
        folder, rng, lengths = tmp_path / "foreign", np.random.default_rng(0), (30, 40)
        count = sum(lengths)
        angles = rng.normal(scale=40, size=(count, 3))
        columns: dict[str, Any] = {
            state: pa.array(angles.tolist(), pa.list_(pa.float64())),
            "action": pa.array((angles * 0.5).tolist(), pa.list_(pa.float32())),
            "next.reward": pa.array(rng.random(count), pa.float32()),
            "timestamp": pa.array(np.concatenate([np.arange(n) / 10 for n in lengths]), pa.float32()),
            "frame_index": pa.array(np.concatenate([np.arange(n) for n in lengths])),
            "episode_index": pa.array(np.repeat([0, 1], lengths)),
            "index": pa.array(np.arange(count)),
            "task_index": pa.array(np.repeat([1, 0], lengths)),
        }
        if success:
            columns["next.success"] = pa.array([False] * 29 + [True] + [False] * 40)
        features = {
            name: {"dtype": "float32", "shape": [3], "names": FOREIGN_NAMES.get(name)} for name in (state, "action")
        }
        features |= {name: {"dtype": "int64", "shape": [1], "names": None} for name in columns if name not in features}
        for name, (height, width) in (images or {}).items():
            features[name] = {
                "dtype": "image", "shape": [height, width, 3], "names": ["height", "width", "channel"],
            }  # fmt: skip
            columns[name] = pa.array([{"bytes": gradient(height, width, i), "path": None} for i in range(count)])
        (folder / "meta/episodes/chunk-000").mkdir(parents=True)
        (folder / "data/chunk-000").mkdir(parents=True)
        pq.write_table(pa.table(columns), folder / FRAMES)
        pq.write_table(pa.table({"task_index": [0, 1], "task": ["close it", "open it"]}), folder / "meta/tasks.parquet")
        rows = [
            {"episode_index": i, "tasks": [task], "length": n, "data/chunk_index": 0, "data/file_index": 0}
            for i, (n, task) in enumerate(zip(lengths, ["open it", "close it"], strict=True))
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / EPISODES)
        info = {
            "codebase_version": "v3.0", "robot_type": "so100", "total_episodes": 2, "total_frames": count, "fps": 10,
            "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet", "features": features,
        }  # fmt: skip
        (folder / "meta/info.json").write_text(json.dumps(info))
        return folder

    return make


def gradient(height: int, width: int, shade: int) -> bytes:
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, width)
    image[..., 1] = shade
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def test_foreign_data_come_with_all_that_is_known(make_foreign: Any, tmp_path: Path) -> None:
    folder = make_foreign(images={"observation.images.top": (24, 32)})
    notes = import_lerobot(folder, tmp_path / "out")
    dataset, table = Dataset(tmp_path / "out"), pq.read_table(folder / FRAMES)
    assert dataset.needs == Needs(
        vectors={"state": Layout(tuple(Feature(name, 1, "unknown", "unknown") for name in JOINTS))},
        cameras={"top": (24, 32)},
        instruction=True,
        environments={},
        action="shoulder + elbow + wrist, meaning and units unknown",
        control_hz=10,
        max_episode_steps=40,
    )
    np.testing.assert_array_equal(dataset.vectors("action"), np.array(table["action"].to_pylist(), np.float32))
    state = np.array(table["observation.state"].to_pylist(), np.float32)
    np.testing.assert_array_equal(dataset.vectors("observation.state"), state)
    images = dataset.vectors("observation.images.top")
    assert images.shape == (70, 24, 32, 3)
    assert images[:, 0, 0, 1].tolist() == list(range(70))
    assert [record.metadata for record in dataset.episodes] == [
        {"seed": None, "environment": None, "instruction": text, "success": None} for text in ("open it", "close it")
    ]
    assert dataset.provenance[0]["robot_type"] == "so100"
    assert dataset.provenance[0]["left_out"] == ["next.reward"]
    said = "\n".join(notes)
    for words in ("environment is unknown", "units", "whether an episode succeeded", "next.reward", "24×32"):
        assert words in said


def test_foreign_names_cameras_sizes_and_success(make_foreign: Any, tmp_path: Path) -> None:
    folder = make_foreign(
        state="qpos", success=True, images={"observation.image": (24, 32), "observation.images.hand": (16, 16)}
    )
    with pytest.raises(
        DatasetError, match=r"no 'observation.state'; there are .*qpos.*--rename SOURCE=observation.state"
    ):
        import_lerobot(folder, tmp_path / "out")
    with pytest.raises(DatasetError, match="there is no 'qvel'"):
        import_lerobot(folder, tmp_path / "out", ImportOptions(rename={"qvel": "observation.state"}))
    with pytest.raises(DatasetError, match="would both be 'action'"):
        import_lerobot(folder, tmp_path / "out", ImportOptions(rename={"qpos": "action"}))
    rename = {"qpos": "observation.state"}
    with pytest.raises(DatasetError, match=r"cameras differ in size \(image 24×32, hand 16×16\)"):
        import_lerobot(folder, tmp_path / "out", ImportOptions(rename=rename))
    with pytest.raises(DatasetError, match="no camera 'foot'; there are image, hand"):
        import_lerobot(folder, tmp_path / "out", ImportOptions(rename=rename, cameras=("foot",)))
    import_lerobot(folder, tmp_path / "one", ImportOptions(rename=rename, cameras=("hand",)))
    assert Dataset(tmp_path / "one").needs.cameras == {"hand": (16, 16)}
    import_lerobot(folder, tmp_path / "both", ImportOptions(rename=rename, image_size=(16, 16)))
    dataset = Dataset(tmp_path / "both")
    assert list(dataset.needs.cameras) == ["image", "hand"]
    scaled = dataset.vectors("observation.images.image")
    assert scaled.shape == (70, 16, 16, 3)
    assert (scaled[:, 3, 3, 1] == np.arange(70)).all()
    assert (np.diff(scaled[0, 0, :, 0].astype(int)) > 0).all()
    assert [record.metadata["success"] for record in dataset.episodes] == [True, False]
    assert [feature.name for feature in dataset.needs.vectors["state"].features] == ["observation.state"]


def test_ours_without_its_note_is_foreign_data(exported: Path, source: Path, tmp_path: Path) -> None:
    (exported / "meta/simscaleai.json").unlink()
    assert "the environment is unknown" in import_lerobot(exported, tmp_path / "out")[0]
    dataset = Dataset(tmp_path / "out")
    assert [record.episode_index for record in dataset.episodes] == [0, 1, 2]
    np.testing.assert_array_equal(
        dataset.vectors("observation.environment_state"), Dataset(source).vectors("observation.environment_state")
    )


def test_videos_are_read_frame_by_frame(make_foreign: Any, tmp_path: Path) -> None:
    import imageio_ffmpeg

    folder = make_foreign()
    path = folder / "videos/observation.images.top/chunk-000/file-000.mp4"
    path.parent.mkdir(parents=True)
    writer = imageio_ffmpeg.write_frames(str(path), (32, 16), fps=10, codec="libx264", quality=10, macro_block_size=1)
    writer.send(None)
    frames = np.zeros((70, 16, 32, 3), np.uint8)
    frames[...] = (3 * np.arange(70))[:, None, None, None]
    for frame in frames:
        writer.send(frame.tobytes())
    writer.close()

    def describe(info: Any) -> None:
        info["features"]["observation.images.top"] = {"dtype": "video", "shape": [16, 32, 3], "names": None}
        info["video_path"] = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"

    edit_json("meta/info.json", describe)(folder)
    table = pq.read_table(folder / EPISODES)
    prefix = "videos/observation.images.top/"
    for name, values in {"chunk_index": [0, 0], "file_index": [0, 0], "from_timestamp": [0.0, 3.0]}.items():
        table = table.append_column(prefix + name, pa.array(values))
    pq.write_table(table, folder / EPISODES)
    import_lerobot(folder, tmp_path / "out")
    read = Dataset(tmp_path / "out").vectors("observation.images.top").astype(int)
    assert read.shape == frames.shape
    assert np.abs(read - frames).max() <= 2
    cut("videos/observation.images.top/chunk-000/file-000.mp4")(folder)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DatasetError, match=r"damaged at episode 0, observation.images.top"):
        import_lerobot(folder, tmp_path / "again")


def test_foreign_data_can_be_trained_on(make_foreign: Any, tmp_path: Path) -> None:
    from simscaleai.checkpoint import load_checkpoint
    from simscaleai.training.config import TrainConfig
    from simscaleai.training.trainer import train

    folder = make_foreign(images={"observation.images.top": (24, 32)})
    import_lerobot(folder, tmp_path / "out", ImportOptions(image_size=(36, 36)))
    arguments = ("hidden_dim=16", "dropout=0")
    config = TrainConfig(
        model="bc", dataset=(tmp_path / "out",), output=tmp_path / "trained", steps=3, batch_size=8, warmup_steps=0,
        model_arguments=arguments, threads=1, validation_fraction=0,
    )  # fmt: skip
    assert train(config).finished
    checkpoint = load_checkpoint(tmp_path / "trained")
    assert checkpoint.needs.environments == {}
    actions = Dataset(tmp_path / "out").vectors("action")
    assert np.abs(actions).max() > 1
    scaled = checkpoint.processor.actions(actions)
    assert float(scaled.abs().max()) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(checkpoint.processor.inverse_actions(scaled), actions, rtol=1e-5, atol=1e-4)


def test_without_its_libraries_the_message_says_what_to_install() -> None:
    import subprocess
    import sys

    code = "import sys; sys.modules['pyarrow'] = None; import simscaleai.data.lerobot"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'simscaleai[lerobot]'" in done.stderr.splitlines()[-1]
