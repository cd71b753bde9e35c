from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simscaleai.data import Dataset, DatasetError, DatasetWriter
from simscaleai.data.episode_file import write_episode_file
from simscaleai.data.episode_list import episode_file_name, read_discarded


def test_episodes_come_back_as_written(tmp_path: Path, make_needs: Any, make_episode: Any, make_metadata: Any) -> None:
    needs = make_needs(cameras=("front", "wrist"))
    written = [make_episode(needs, seed=index, length=4 + index) for index in range(3)]
    with DatasetWriter(tmp_path, needs, provenance={"noise": (0.0, 0.1)}) as writer:
        for index, arrays in enumerate(written):
            writer.write_episode(arrays, make_metadata(index, target=None), index)
    dataset = Dataset(tmp_path)
    assert dataset.needs == needs
    assert [record.metadata["seed"] for record in dataset.episodes] == [10**9, 10**9 + 1, 10**9 + 2]
    for index, arrays in enumerate(written):
        read = dataset.episode(index)
        assert read.keys() == arrays.keys()
        for key, values in arrays.items():
            assert read[key].dtype == values.dtype
            np.testing.assert_array_equal(read[key], values)
    description = json.loads((tmp_path / "dataset.json").read_text())
    assert description["fps"] == 20
    assert description["provenance"] == {"noise": [0.0, 0.1]}
    assert description["needs"] == needs.to_json()
    assert description["array_types"]["observation.state"] == {"dtype": "float32", "shape": [3]}


def test_the_order_of_writing_leaves_no_trace(
    tmp_path: Path, make_needs: Any, make_episode: Any, make_metadata: Any
) -> None:
    needs = make_needs()
    for name, order in (("ascending", [0, 1, 2, 3]), ("mixed", [2, 0, 3, 1])):
        with DatasetWriter(tmp_path / name, needs) as writer:
            for index in order:
                writer.write_episode(make_episode(needs, seed=index), make_metadata(index), index)
    ascending, mixed = (tmp_path / name / "dataset.json" for name in ("ascending", "mixed"))
    assert ascending.read_text() == mixed.read_text()
    assert ascending.with_name("episodes.jsonl").read_text() == mixed.with_name("episodes.jsonl").read_text()
    lines = mixed.with_name("episodes.jsonl").read_text().splitlines()
    assert [json.loads(line)["episode_index"] for line in lines] == [0, 1, 2, 3]
    assert Dataset(tmp_path / "ascending").digest == Dataset(tmp_path / "mixed").digest


def test_statistics_are_those_of_all_steps(tmp_path: Path, make_needs: Any, make_dataset: Any) -> None:
    dataset = Dataset(make_dataset(tmp_path, make_needs(), episodes=5))
    stored = json.loads((tmp_path / "dataset.json").read_text())["statistics"]
    assert stored.keys() == {"action", "executed_action", "observation.state", "observation.environment_state"}
    for key, found in stored.items():
        rows = np.concatenate([dataset.episode(i)[key] for i in range(5)]).astype(np.float64)
        assert found["count"] == len(rows)
        for name in ("min", "max", "mean", "std"):
            np.testing.assert_allclose(found[name], getattr(rows, name)(0), rtol=1e-12, atol=1e-14)


def test_existing_data_needs_resume(tmp_path: Path, make_needs: Any, make_dataset: Any) -> None:
    make_dataset(tmp_path, make_needs())
    with pytest.raises(DatasetError, match="already holds a dataset"):
        DatasetWriter(tmp_path, make_needs())


@pytest.mark.parametrize(
    ("changes", "provenance", "text"),
    [
        ({"control_hz": 10}, {}, "needs.control_hz: was 20, is 10"),
        ({"cameras": ("front",)}, {}, r"needs.cameras.front: was null, is \[8, 8\]"),
        ({}, {"noise": 0.2}, "provenance.noise: was null, is 0.2"),
        ({}, {"a": {"b": 1}, "c": 2}, 'provenance.a: was null, is {"b": 1}; provenance.c: was null, is 2'),
        (
            {"environments": {"SimScale/Toy-v0": "other"}},
            {},
            'environments.SimScale/Toy-v0: was "scene-digest", is "other"',
        ),
    ],
)
def test_resuming_something_else_is_refused(
    tmp_path: Path, make_needs: Any, make_dataset: Any, changes: Any, provenance: Any, text: str
) -> None:
    make_dataset(tmp_path, make_needs())
    with pytest.raises(DatasetError, match=text):
        DatasetWriter(tmp_path, make_needs(**changes), provenance=provenance, resume=True)


def write_all(folder: Path, needs: Any, make_episode: Any, make_metadata: Any, episodes: int = 4) -> None:
    """Do what a collecting program does each time that it is started."""
    with DatasetWriter(folder, needs, resume=True) as writer:
        for index in range(episodes):
            if index not in writer.finished:
                writer.write_episode(make_episode(needs, seed=index), make_metadata(index), index)


@pytest.mark.parametrize("dies_at", range(8))
def test_dying_at_any_write_and_resuming_gives_the_same_dataset(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_needs: Any,
    make_episode: Any,
    make_metadata: Any,
    dies_at: int,
) -> None:
    needs = make_needs()
    write_all(tmp_path / "whole", needs, make_episode, make_metadata)
    calls = iter(range(99))
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if next(calls) == dies_at:
            raise KeyboardInterrupt
        real(source, target)

    # A process that is killed runs no close(), and may leave half a line behind.
    with monkeypatch.context() as patch:
        patch.setattr("simscaleai.files.os.replace", replace)
        if dies_at < 6:  # beyond, it dies while it closes
            patch.setattr(DatasetWriter, "close", lambda self: None)
        with pytest.raises(KeyboardInterrupt):
            write_all(tmp_path / "broken", needs, make_episode, make_metadata)
    if (tmp_path / "broken" / "episodes.jsonl").exists():
        with (tmp_path / "broken" / "episodes.jsonl").open("a") as file:
            file.write('{"episode_index": 3, "file": "epis')
    write_all(tmp_path / "broken", needs, make_episode, make_metadata)
    for name in ("dataset.json", "episodes.jsonl"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert Dataset(tmp_path / "broken").digest == Dataset(tmp_path / "whole").digest


def test_a_file_without_a_line_is_written_anew(
    tmp_path: Path, make_needs: Any, make_episode: Any, make_metadata: Any
) -> None:
    needs = make_needs()
    (tmp_path / "episodes").mkdir()
    (tmp_path / "episodes" / "episode_000000.safetensors").write_bytes(b"half a file")
    with DatasetWriter(tmp_path, needs, resume=True) as writer:
        assert writer.finished == frozenset()
        writer.write_episode(make_episode(needs, seed=0), make_metadata(0), 0)
    assert Dataset(tmp_path).num_frames == 6


def drop(key: str) -> Callable[[Any], None]:
    return lambda arrays: arrays.pop(key)


def change(key: str, values: Any) -> Callable[[Any], None]:
    return lambda arrays: arrays.update({key: values})


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (drop("observation.environment_state"), "observation.environment_state"),
        (drop("action"), "action"),
        (change("observation.state", np.zeros((6, 4), np.float32)), r"\((T|6), 4\)"),
        (change("observation.state", np.zeros((5, 3), np.float32)), r"one length.*\[5, 6\]"),
        (change("action", np.zeros(6, np.float32)), "action"),
        (change("action", np.full((6, 4), np.nan, np.float32)), "'action' holds a value that is not finite"),
    ],
)
def test_an_episode_that_does_not_fit_is_refused(
    tmp_path: Path, make_needs: Any, make_episode: Any, make_metadata: Any, spoil: Any, text: str, first: bool
) -> None:
    needs = make_needs()
    arrays = make_episode(needs, seed=1)
    spoil(arrays)
    with DatasetWriter(tmp_path, needs) as writer:
        if not first:
            writer.write_episode(make_episode(needs, seed=0), make_metadata(0), 0)
        with pytest.raises(DatasetError, match=text):
            writer.write_episode(arrays, make_metadata(1), 1)
        assert 1 not in writer.finished
        writer.write_episode(make_episode(needs, seed=1), make_metadata(1), 1)
    assert len(Dataset(tmp_path).episodes) == (1 if first else 2)


def test_an_episode_is_written_once_and_says_where_it_is_from(
    tmp_path: Path, make_needs: Any, make_episode: Any, make_metadata: Any
) -> None:
    needs = make_needs()
    with DatasetWriter(tmp_path, needs) as writer:
        writer.write_episode(make_episode(needs, seed=0), make_metadata(0), 0)
        with pytest.raises(DatasetError, match="already holds episode 0"):
            writer.write_episode(make_episode(needs, seed=0), make_metadata(0), 0)
        with pytest.raises(DatasetError, match="episode 1 lacks success"):
            writer.write_episode(make_episode(needs, seed=1), {"seed": 1, "environment": "x", "instruction": ""}, 1)
        with pytest.raises(DatasetError, match="must not name file"):
            writer.write_episode(make_episode(needs, seed=1), make_metadata(1, file="x"), 1)


def test_discarded_episodes_are_finished_and_kept_in_order(
    tmp_path: Path, make_needs: Any, make_episode: Any, make_metadata: Any
) -> None:
    needs = make_needs()
    with DatasetWriter(tmp_path, needs) as writer:
        for index in (3, 1):
            writer.discard_episode(make_metadata(index, success=False), index)
        writer.write_episode(make_episode(needs, seed=0), make_metadata(0), 0)
        with pytest.raises(DatasetError, match="already holds episode 1"):
            writer.write_episode(make_episode(needs, seed=1), make_metadata(1), 1)
        with pytest.raises(DatasetError, match="already holds episode 0"):
            writer.discard_episode(make_metadata(0), 0)
    with DatasetWriter(tmp_path, needs, resume=True) as writer:
        assert writer.finished == {0, 1, 3}
        assert writer.num_episodes == 1
    assert [entry["episode_index"] for entry in read_discarded(tmp_path)] == [1, 3]
    assert [json.loads(line)["seed"] for line in (tmp_path / "discarded.jsonl").read_text().splitlines()] == [
        10**9 + 1,
        10**9 + 3,
    ]
    assert len(Dataset(tmp_path).episodes) == 1


def test_an_adopted_file_is_checked_like_a_written_one(
    tmp_path: Path, make_needs: Any, make_episode: Any, make_metadata: Any
) -> None:
    needs = make_needs()
    with DatasetWriter(tmp_path / "written", needs) as writer:
        for index in range(2):
            writer.write_episode(make_episode(needs, seed=index), make_metadata(index), index)
    with DatasetWriter(tmp_path / "adopted", needs) as writer:
        for index in range(2):
            file = episode_file_name(index)
            (tmp_path / "adopted" / file).write_bytes((tmp_path / "written" / file).read_bytes())
            writer.adopt_episode(make_metadata(index), index)
        with pytest.raises(DatasetError, match="is missing"):
            writer.adopt_episode(make_metadata(2), 2)
        spoilt = make_episode(needs, seed=2) | {"action": np.full((6, 4), np.nan, np.float32)}
        write_episode_file(tmp_path / "adopted" / episode_file_name(2), spoilt)
        with pytest.raises(DatasetError, match="not finite"):
            writer.adopt_episode(make_metadata(2), 2)
    for name in ("dataset.json", "episodes.jsonl"):
        assert (tmp_path / "adopted" / name).read_bytes() == (tmp_path / "written" / name).read_bytes()


def test_an_adopted_file_that_was_hashed_when_it_was_written_is_not_hashed_again(
    tmp_path: Path, make_needs: Any, make_episode: Any, make_metadata: Any
) -> None:
    needs = make_needs()
    with DatasetWriter(tmp_path / "written", needs) as writer:
        expected = writer.write_episode(make_episode(needs, seed=0), make_metadata(0), 0)
    with DatasetWriter(tmp_path / "adopted", needs) as writer:
        sha256 = write_episode_file(tmp_path / "adopted" / episode_file_name(0), make_episode(needs, seed=0))
        assert sha256 == expected.sha256
        assert writer.adopt_episode(make_metadata(0), 0, sha256="what was given").sha256 == "what was given"


def test_an_unfinished_dataset_of_version_1_is_continued_as_version_2(
    tmp_path: Path, make_needs: Any, make_episode: Any, make_metadata: Any, rewrite_as_version_1: Any
) -> None:
    needs = make_needs(cameras=("front", "wrist"))
    write_all(tmp_path / "whole", needs, make_episode, make_metadata)
    write_all(tmp_path / "old", needs, make_episode, make_metadata, episodes=2)
    rewrite_as_version_1(tmp_path / "old", needs)
    with pytest.raises(DatasetError, match=r"needs.control_hz: was 20, is 10"):
        DatasetWriter(tmp_path / "old", make_needs(cameras=("front", "wrist"), control_hz=10), resume=True)
    write_all(tmp_path / "old", needs, make_episode, make_metadata)
    for name in ("dataset.json", "episodes.jsonl"):
        assert (tmp_path / "old" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"environments": None, "control_hz": None}, "must say environments, control_hz"),
        ({"history": 2}, "single observations, got needs with history=2"),
    ],
)
def test_needs_that_leave_out_what_training_must_know_are_refused(
    tmp_path: Path, make_needs: Any, changes: Any, text: str
) -> None:
    with pytest.raises(DatasetError, match=text):
        DatasetWriter(tmp_path / "new", make_needs(**changes))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": "x"}, "expected seed of type int"),
        ({"instruction": None}, "expected instruction of type str"),
        ({"instruction": "\udcff"}, "half a character"),
        ({"success": 1}, "expected success of type bool"),
        ({"distance": float("nan")}, "expected finite numbers, got NaN"),
    ],
)
def test_metadata_that_could_not_be_read_again_is_refused(
    tmp_path: Path, make_needs: Any, make_episode: Any, make_metadata: Any, changes: Any, said: str
) -> None:
    needs = make_needs()
    with DatasetWriter(tmp_path, needs) as writer:
        for add in (lambda data: writer.write_episode(make_episode(needs, seed=0), data, 0), writer.discard_episode):
            arguments = (make_metadata(0, **changes),) + ((0,) if add == writer.discard_episode else ())
            with pytest.raises(DatasetError, match=said):
                add(*arguments)
        writer.write_episode(make_episode(needs, seed=0), make_metadata(0, seed=np.int64(7)), 0)
    assert Dataset(tmp_path).episodes[0].metadata["seed"] == 7


@pytest.mark.parametrize("dtype", ["float16", "int16", "complex64"])
def test_arrays_that_could_not_be_read_again_are_refused(
    tmp_path: Path, make_needs: Any, make_episode: Any, make_metadata: Any, dtype: str
) -> None:
    needs = make_needs()
    arrays = make_episode(needs, seed=0)
    arrays["extra"] = np.zeros(len(arrays["action"]), dtype)
    with DatasetWriter(tmp_path, needs) as writer, pytest.raises(DatasetError, match=f"got {dtype}"):
        writer.write_episode(arrays, make_metadata(0), 0)


def test_an_error_while_closing_does_not_hide_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_needs: Any
) -> None:
    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(DatasetWriter, "close", fail)
    with pytest.raises(ZeroDivisionError), DatasetWriter(tmp_path / "a", make_needs()) as writer:
        writer.discard_episode({}, int(1 / 0))
    with pytest.raises(OSError, match="No space left"), DatasetWriter(tmp_path / "b", make_needs()):
        pass
