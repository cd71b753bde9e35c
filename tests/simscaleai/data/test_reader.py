from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simscaleai.contract import Feature, Layout
from simscaleai.data import Dataset, DatasetError, reader
from simscaleai.data.check import check_dataset
from simscaleai.data.episode_list import read_discarded
from simscaleai.data.lerobot import export_lerobot


def test_frames_run_through_all_episodes(tmp_path: Path, make_needs: Any, make_dataset: Any) -> None:
    dataset = Dataset(make_dataset(tmp_path, make_needs(cameras=("front",)), episodes=4))
    assert dataset.num_frames == 5 + 6 + 7 + 5
    key = "observation.images.front"
    table = np.concatenate([dataset.episode(number)[key] for number in range(4)])
    frames = np.array([22, 0, 5, 4, 5, 17])
    np.testing.assert_array_equal(dataset.gather(key, frames), table[frames])
    states = np.concatenate([dataset.episode(number)["observation.state"] for number in range(4)])
    np.testing.assert_array_equal(dataset.vectors("observation.state"), states)
    np.testing.assert_array_equal(dataset.frames_of([3, 1]), [5, 6, 7, 8, 9, 10, 18, 19, 20, 21, 22])


def test_few_open_maps_suffice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_needs: Any, make_dataset: Any
) -> None:
    folder = make_dataset(tmp_path, make_needs(cameras=("front",)), episodes=6)
    frames = np.random.default_rng(0).integers(0, Dataset(folder).num_frames, 50)
    expected = Dataset(folder).gather("observation.images.front", frames)
    monkeypatch.setattr(reader, "_most_open_maps", lambda: 1)
    np.testing.assert_array_equal(Dataset(folder).gather("observation.images.front", frames), expected)


def test_a_file_that_shrinks_or_vanishes_is_an_error(tmp_path: Path, make_needs: Any, make_dataset: Any) -> None:
    folder = make_dataset(tmp_path, make_needs(cameras=("front",)), episodes=2)
    dataset = Dataset(folder)
    (folder / EPISODE).write_bytes((folder / EPISODE).read_bytes()[:300])
    with pytest.raises(DatasetError, match=r"episode_000001.safetensors became shorter while it was in use"):
        dataset.gather("observation.images.front", np.array([0, 10]))
    (folder / EPISODE).unlink()
    with pytest.raises(DatasetError, match=r"episode_000001.safetensors cannot be read"):
        dataset.gather("observation.images.front", np.array([0, 10]))


def test_more_episodes_than_a_process_may_open_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_needs: Any, make_dataset: Any
) -> None:
    """A memory map keeps its file open. Vectors of all episodes, a check and an export must not need all at once."""
    folder = make_dataset(tmp_path, make_needs(), episodes=40)
    monkeypatch.setattr(reader, "_most_open_maps", lambda: 4)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    export_lerobot(folder, tmp_path / "first")  # what else it opens, such as libraries, is open now
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, hard))
    try:
        dataset = Dataset(folder)
        assert len(dataset.vectors("action")) == dataset.num_frames
        assert not any(finding.is_wrong for finding in check_dataset(folder))
        export_lerobot(folder, tmp_path / "export")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_arrays_are_read_only(tmp_path: Path, make_needs: Any, make_dataset: Any) -> None:
    action = Dataset(make_dataset(tmp_path, make_needs())).episode(0)["action"]
    with pytest.raises(ValueError, match="read-only"):
        action[0] = 0


def test_a_dataset_whose_writer_died_is_readable(tmp_path: Path, make_needs: Any, make_dataset: Any) -> None:
    folder = make_dataset(tmp_path, make_needs())
    closed = Dataset(folder).statistics
    path = folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"statistics": {}}))
    with (folder / "episodes.jsonl").open("a") as file:
        file.write('{"episode_index": 9')
    dataset = Dataset(folder)
    assert len(dataset.episodes) == 4
    assert dataset.statistics == closed


def test_stale_statistics_are_not_believed(tmp_path: Path, make_needs: Any, make_dataset: Any) -> None:
    folder = make_dataset(tmp_path, make_needs())
    index = folder / "episodes.jsonl"
    index.write_text("".join(index.read_text().splitlines(keepends=True)[:2]))
    assert Dataset(folder).statistics["action"]["count"] == 5 + 6


def test_joined_datasets_read_as_one(tmp_path: Path, make_needs: Any, make_dataset: Any) -> None:
    first = make_dataset(tmp_path / "first", make_needs(), episodes=2)
    other = make_needs(environments={"SimScale/Toy-v1": "d"}, privileged=None, instruction=False)
    second = make_dataset(tmp_path / "second", other, episodes=3, first_seed=50)
    joined = Dataset([first, second])
    assert joined.needs == make_needs(
        environments={"SimScale/Toy-v0": "scene-digest", "SimScale/Toy-v1": "d"}, privileged=None, instruction=False
    )
    assert joined.num_frames == 5 + 6 + 5 + 6 + 7
    np.testing.assert_array_equal(joined.episode(2)["action"], Dataset(second).episode(0)["action"])
    actions = joined.vectors("action").astype(np.float64)
    np.testing.assert_allclose(joined.statistics["action"]["std"], actions.std(0), rtol=1e-12)
    assert "observation.environment_state" not in joined.statistics
    with pytest.raises(DatasetError, match=r"no 'observation.environment_state' in every episode"):
        joined.vectors("observation.environment_state")


def test_a_privileged_vector_of_another_layout_is_left_out(tmp_path: Path, make_needs: Any, make_dataset: Any) -> None:
    other = make_needs(privileged=Layout((Feature("obstacle", 2, "m", "world"),), privileged=True))
    folders = [make_dataset(tmp_path / "a", make_needs()), make_dataset(tmp_path / "b", other)]
    joined = Dataset(folders)
    assert list(joined.needs.vectors) == ["state"]
    assert joined.array_types.keys() == {"observation.state", "action", "executed_action"}
    assert joined.statistics.keys() == joined.array_types.keys()


def test_positions_are_those_that_all_folders_name_alike(tmp_path: Path, make_needs: Any, make_dataset: Any) -> None:
    cube, goal, yaw = (Feature(name, 1, unit, "world") for name, unit in (("cube", "m"), ("goal", "m"), ("yaw", "rad")))
    layouts = [(yaw, cube), (cube, goal), (replace(cube, unit="cm"), yaw)]
    folders = [
        make_dataset(tmp_path / str(number), make_needs(privileged=Layout(layout, privileged=True)))
        for number, layout in enumerate(layouts)
    ]
    joined, (first, second) = Dataset(folders[:2]), map(Dataset, folders[:2])
    of_first, of_second = (dataset.vectors("observation.environment_state") for dataset in (first, second))
    np.testing.assert_array_equal(joined.positions, np.concatenate([of_first[:, 1:], of_second[:, :1]]))
    np.testing.assert_array_equal(second.positions, of_second)
    assert Dataset(folders).positions.shape == (Dataset(folders).num_frames, 0)


def test_positions_come_from_every_privileged_vector_whatever_its_name(
    tmp_path: Path, make_needs: Any, make_dataset: Any
) -> None:
    layouts = {name: Layout((Feature(name, 2, "m", "world"),), privileged=name != "c") for name in "abc"}
    needs = make_needs(vectors=make_needs().vectors | layouts)
    dataset = Dataset(make_dataset(tmp_path, needs))
    expected = [dataset.vectors(f"observation.{name}") for name in ("environment_state", "a", "b")]
    np.testing.assert_array_equal(dataset.positions, np.concatenate(expected, axis=1))


def test_the_digest_covers_arrays_instructions_and_needs(tmp_path: Path, make_needs: Any, make_dataset: Any) -> None:
    folders = [
        make_dataset(tmp_path / "a", make_needs()),
        make_dataset(tmp_path / "b", make_needs()),
        make_dataset(tmp_path / "c", make_needs(), first_seed=9),
        make_dataset(tmp_path / "d", make_needs(), instruction="go"),
        make_dataset(tmp_path / "e", make_needs(control_hz=10)),
    ]
    first, same, *others = (Dataset(folder).digest for folder in folders)
    assert first == same
    assert len({first, *others}) == 4


def test_equal_privileged_vectors_stay_when_datasets_are_joined(
    tmp_path: Path, make_needs: Any, make_dataset: Any
) -> None:
    folders = [make_dataset(tmp_path / name, make_needs(), episodes=1) for name in ("a", "b")]
    assert Dataset(folders).needs == make_needs()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"control_hz": 10}, "control_hz is 20 and 10"),
        ({"action": "torque"}, "action is 'displacement' and 'torque'"),
        ({"render_profile": "other"}, "render_profile"),
        (
            {"vectors": {"state": Layout((Feature("velocity", 3, "m/s", "world"),))}},
            r"vector 'state' is position\(3\) \[m\] and velocity\(3\) \[m/s\]",
        ),
        (
            {"vectors": {"pose": Layout((Feature("position", 3, "m", "world"),))}},
            r"vector 'state' is position\(3\) \[m\] and None",
        ),
        ({"environments": {"SimScale/Toy-v0": "moved"}}, "another scene of SimScale/Toy-v0"),
    ],
)
def test_what_means_something_else_does_not_join(
    tmp_path: Path, make_needs: Any, make_dataset: Any, changes: Any, text: str
) -> None:
    first = make_dataset(tmp_path / "first", make_needs())
    second = make_dataset(tmp_path / "second", make_needs(**changes))
    with pytest.raises(DatasetError, match=text):
        Dataset([first, second])


def spoil(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def apply(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(change(path.read_bytes()))
        return path

    return apply


def edit(name: str, **changes: Any) -> Callable[[Path], Path]:
    def change(data: bytes) -> bytes:
        lines = data.decode().splitlines()
        lines[1] = json.dumps(json.loads(lines[1]) | changes)
        return ("\n".join(lines) + "\n").encode()

    return spoil(name, change)


EPISODE = "episodes/episode_000001.safetensors"


@pytest.mark.parametrize(
    "damage",
    [
        spoil(EPISODE, lambda data: b""),
        spoil(EPISODE, lambda data: data[:5]),
        spoil(EPISODE, lambda data: data[:-1]),
        spoil(EPISODE, lambda data: data + b"x"),
        spoil(EPISODE, lambda data: b"\xff" * len(data)),
        spoil(EPISODE, lambda data: b"PK\x03\x04" + data[4:]),
        spoil(EPISODE, lambda data: data.replace(b'"F32"', b'"F99"')),
        spoil(EPISODE, lambda data: data.replace(b"[6,3]", b"[5,3]")),
        spoil(EPISODE, lambda data: data.replace(b'"shape"', b'"shapf"')),
        spoil(EPISODE, lambda data: data.replace(b'"action"', b'"actiom"')),
        spoil("dataset.json", lambda data: data[:100]),
        spoil("dataset.json", lambda data: b"[]"),
        spoil("dataset.json", lambda data: data.replace(b'"format_version": 2', b'"format_version": 3')),
        spoil("dataset.json", lambda data: data.replace(b'"array_types"', b'"array_typez"')),
        spoil("dataset.json", lambda data: data.replace(b'"environments"', b'"environmentz"')),
        spoil("dataset.json", lambda data: data.replace(b'"control_hz": 20', b'"control_hz": null')),
        spoil("dataset.json", lambda data: data.replace(b'"count"', b'"countz"')),
        spoil("episodes.jsonl", lambda data: data.replace(b"{", b"", 1)),
        spoil("episodes.jsonl", lambda data: data + data.splitlines(keepends=True)[0]),
        edit("episodes.jsonl", length=7),
        edit("episodes.jsonl", length=-1),
        edit("episodes.jsonl", file="../../secret.safetensors"),
        edit("episodes.jsonl", file="/etc/passwd"),
        edit("episodes.jsonl", file=3),
    ],
)
def test_damage_is_one_error_that_names_the_file(
    tmp_path: Path, make_needs: Any, make_dataset: Any, damage: Any
) -> None:
    folder = make_dataset(tmp_path, make_needs())
    path = damage(folder)
    with pytest.raises(DatasetError) as caught:
        Dataset(folder)
    assert path.name in str(caught.value) or EPISODE in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_dataset_of_version_1_opens(
    tmp_path: Path, make_needs: Any, make_dataset: Any, rewrite_as_version_1: Any
) -> None:
    needs = make_needs(cameras=("front", "wrist"))
    folder = make_dataset(tmp_path, needs)
    new = Dataset(folder)
    rewrite_as_version_1(folder, needs)
    old = Dataset(folder)
    assert old.needs == needs
    assert old.needs.privileged == ("environment_state",)
    assert (old.array_types, old.statistics, old.digest) == (new.array_types, new.statistics, new.digest)


def test_missing_things_are_named(tmp_path: Path, make_needs: Any, make_dataset: Any) -> None:
    with pytest.raises(DatasetError, match=r"nothing is no dataset"):
        Dataset(tmp_path / "nothing")
    folder = make_dataset(tmp_path / "data", make_needs())
    (folder / EPISODE).unlink()
    with pytest.raises(DatasetError, match=r"episode_000001.safetensors is missing"):
        Dataset(folder)
    (folder / "episodes.jsonl").write_text("")
    with pytest.raises(DatasetError, match="holds no finished episode"):
        Dataset(folder)


@pytest.mark.slow
def test_reading_64_random_images_takes_about_a_millisecond(tmp_path: Path, make_needs: Any, make_dataset: Any) -> None:
    dataset = Dataset(make_dataset(tmp_path, make_needs(cameras=("front",), size=128), episodes=100))
    rng = np.random.default_rng(0)
    times = []
    for _ in range(50):
        frames = rng.integers(0, dataset.num_frames, 64)
        start = time.process_time()
        dataset.gather("observation.images.front", frames)
        times.append(time.process_time() - start)
    assert min(times) < 2e-3


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


def test_files_are_checked_against_their_digests(tmp_path: Path, make_needs: Any, make_dataset: Any) -> None:
    folder = make_dataset(tmp_path, make_needs())
    dataset = Dataset(folder)
    assert dataset.changed_files() == []
    dataset.check_files()
    flip(folder / EPISODE)
    assert dataset.changed_files() == [folder / EPISODE]
    with pytest.raises(DatasetError, match=r"episode_000001.* its SHA-256 is not that in .*\(1 of 4 files\)"):
        dataset.check_files()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.update(array_types={}), "expected an episode with 'observation.state', got one with"),
        (lambda data: data["array_types"].pop("action"), "expected an episode with 'action'"),
        (lambda data: data["array_types"].pop("observation.images.front"), "'observation.images.front'"),
        (lambda data: data["needs"]["cameras"].update(wrist=[8, 8]), "'observation.images.wrist'"),
        (lambda data: data["needs"]["cameras"].update(front=[9, 8]), r"as uint8 \(T, 9, 8, 3\), got uint8 \(T, 8"),
        (lambda data: data["array_types"]["action"].update(dtype="int64"), r"as float \(T, 4\), got int64"),
        (lambda data: data["array_types"]["action"].update(shape=[2, 2]), r"of shape \(T, A\)"),
        (lambda data: data["needs"].update(control_hz=0), "control_hz above 0"),
        (lambda data: data["needs"].update(control_hz="20"), "control_hz"),
        (lambda data: data["needs"].update(control_hz=1e300), "at most 1000000"),
        (lambda data: data["needs"].update(max_episode_steps=0), "max_episode_steps of at least 1"),
        (lambda data: data["statistics"]["action"]["std"].pop(), "statistics"),
    ],
)
def test_a_description_that_contradicts_itself_is_one_line(
    tmp_path: Path, make_needs: Any, make_dataset: Any, change: Any, said: str
) -> None:
    folder = make_dataset(tmp_path, make_needs(cameras=("front",)))
    data = json.loads((folder / "dataset.json").read_text())
    change(data)
    (folder / "dataset.json").write_text(json.dumps(data))
    with pytest.raises(DatasetError, match=said) as caught:
        Dataset(folder)
    assert "dataset.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_statistics_that_lack_a_vector_are_computed(tmp_path: Path, make_needs: Any, make_dataset: Any) -> None:
    folder = make_dataset(tmp_path, make_needs())
    whole = Dataset(folder).statistics
    data = json.loads((folder / "dataset.json").read_text())
    del data["statistics"]["action"]
    (folder / "dataset.json").write_text(json.dumps(data))
    assert Dataset(folder).statistics == whole


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": "x"}, 'expected seed of type int, got "x"'),
        ({"instruction": 5}, "expected instruction of type str, got 5"),
        ({"instruction": "\ud800"}, "the instruction of episode 0 holds half a character"),
        ({"success": "yes"}, "expected success of type bool"),
        ({"environment": []}, "expected environment of type str"),
        ({"file": "episodes/episode_000001.safetensors"}, "lists episode 1 or its file again"),
    ],
)
def test_metadata_of_another_type_is_refused(
    tmp_path: Path, make_needs: Any, make_dataset: Any, change: Any, said: str
) -> None:
    folder = make_dataset(tmp_path, make_needs())
    first, *others = (folder / "episodes.jsonl").read_text().splitlines()
    lines = [json.dumps(json.loads(first) | change), *others, ""]
    (folder / "episodes.jsonl").write_text("\n".join(lines))
    with pytest.raises(DatasetError, match=said):
        Dataset(folder)


@pytest.mark.parametrize("line", ['{"episode_index": "1"}', '{"episode_index": -1}', "{}", "[]", "5"])
def test_a_list_of_discarded_episodes_without_indices_is_refused(
    tmp_path: Path, make_needs: Any, make_dataset: Any, line: str
) -> None:
    folder = make_dataset(tmp_path, make_needs())
    (folder / "discarded.jsonl").write_text(line + "\n")
    with pytest.raises(DatasetError, match=r"discarded.jsonl is damaged"):
        read_discarded(folder)
