"""Datasets of Minari, which `minari` itself reads and writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import minari
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage

from simscaleai.data import Dataset, DatasetError, DatasetWriter
from simscaleai.data.__main__ import main
from simscaleai.data.minari import export_minari, import_minari
from simscaleai.errors import SimScaleError


@pytest.fixture
def source(write_source: Any, make_needs: Any) -> Path:
    """A dataset with images of 32 px of one environment of ours."""
    written: Path = write_source(make_needs(cameras=("front",), size=32, environments={"SimScale/PickPlace-v0": "d"}))
    return written


@pytest.fixture
def exported(source: Path, tmp_path: Path) -> Path:
    assert len(export_minari(source, tmp_path / "exported-v3", privileged=True)) == 1
    return tmp_path / "exported-v3"


def test_minari_reads_the_same_values(source: Path, exported: Path) -> None:
    ours, theirs = Dataset(source), minari.MinariDataset(exported / "data")
    assert (theirs.id, theirs.total_episodes, theirs.total_steps) == ("simscale/exported-v3", 3, 17)
    for number, episode in enumerate(theirs):
        arrays = ours.episode(number)
        np.testing.assert_array_equal(episode.actions, arrays["action"])
        np.testing.assert_array_equal(episode.observations["state"][:-1], arrays["observation.state"])
        np.testing.assert_array_equal(episode.observations["front"][:-1], arrays["observation.images.front"])
        assert len(episode.observations["state"]) == len(episode) + 1
        assert episode.rewards.sum() == episode.terminations.sum() == (number != 1)
        assert episode.truncations.sum() == (number == 1)


def test_minari_recovers_the_environment(exported: Path) -> None:
    recovered = minari.MinariDataset(exported / "data").recover_environment()
    made = gym.make("envs:SimScale/PickPlace-v0")
    assert str(recovered) == str(made)  # with the same wrappers
    for _ in range(2):
        (theirs, _), (ours, _) = recovered.reset(seed=3), made.reset(seed=3)
        np.testing.assert_array_equal(theirs["state"], ours["state"])


def test_the_command(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, back = str(tmp_path / "out"), str(tmp_path / "back")
    assert main(["export", "--format", "minari", str(source), "--output", out]) == 0
    assert "note: the observation after the last action is not stored" in capsys.readouterr().out
    assert main(["import", "--format", "minari", out, "--output", back]) == 0
    assert "3, 2 successful; 1 discarded" in capsys.readouterr().out


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A dataset as minari writes it: a dictionary of vectors and a lossy image."""
    rng, folder = np.random.default_rng(0), tmp_path / "theirs"
    folder.mkdir()
    space = Dict({"hand": Box(-9, 9, (3,)), "arm": Box(-9, 9, (2,)), "eye": Box(0, 255, (32, 32, 3), np.uint8)})
    storage = MinariStorage.new(folder / "data", space, Box(-1, 1, (4,)), None, "hdf5")
    storage.update_metadata({"dataset_id": "x/y-v0", "minari_version": minari.__version__})
    for number, length in enumerate((3, 5)):
        observations: dict[str, Any] = {
            "hand": rng.normal(size=(length + 1, 3)).astype(np.float32),
            "arm": rng.normal(size=(length + 1, 2)).astype(np.float32),
            "eye": np.full((length + 1, 32, 32, 3), 50 * number, np.uint8),
        }
        buffer = EpisodeBuffer(
            id=number,
            observations=observations,
            actions=rng.uniform(-1, 1, (length, 4)).astype(np.float32),
            rewards=np.zeros(length),
            terminations=np.zeros(length, bool),
            truncations=np.zeros(length, bool),
            infos={"success": np.zeros(length + 1, bool)},
        )
        storage.update_episodes([buffer])
    return folder


def test_a_dataset_of_others(theirs: Path, tmp_path: Path) -> None:
    notes = import_minari(theirs, tmp_path / "out", control_hz=25)
    ours = Dataset(tmp_path / "out")
    assert [episode.length for episode in ours.episodes] == [3, 5]
    assert ours.needs.control_hz == 25
    for number, episode in enumerate(minari.MinariDataset(theirs / "data")):
        arrays = ours.episode(number)
        joined = np.concatenate([episode.observations["arm"], episode.observations["hand"]], axis=1)
        np.testing.assert_array_equal(arrays["observation.state"], joined[:-1])
        np.testing.assert_array_equal(arrays["observation.images.eye"], episode.observations["eye"][:-1])
        np.testing.assert_array_equal(arrays["action"], episode.actions)
    assert any("left out: infos.success, rewards" in note for note in notes)


def test_the_rate_must_be_given(theirs: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="add --control-hz"):
        import_minari(theirs, tmp_path / "out")


def changed_metadata(folder: Path, **changes: Any) -> None:
    path = folder / "data/metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def without_space(folder: Path) -> None:
    path = folder / "data/metadata.json"
    values = json.loads(path.read_text())
    del values["observation_space"]
    spec = gym.envs.registration.EnvSpec("Evil-v0", entry_point="antigravity:fly").to_json()
    path.write_text(json.dumps(values | {"env_spec": spec}))


def edited(folder: Path, edit: Callable[[h5py.File], Any]) -> None:
    with h5py.File(folder / "data/main_data.hdf5", "a") as file:
        edit(file)


def external(file: h5py.File) -> None:
    with h5py.File(Path(file.filename).parent / "other.hdf5", "w") as other:
        other["values"] = np.zeros((3, 4))
    del file["episode_0/actions"]
    file["episode_0/actions"] = h5py.ExternalLink("other.hdf5", "values")


def circle(file: h5py.File) -> None:
    file["episode_0/infos/again"] = file["episode_0"]


def truncated(folder: Path, size: int) -> None:
    path = folder / "data/main_data.hdf5"
    path.write_bytes(path.read_bytes()[:size])


HOSTILE: dict[str, Callable[[Path], Any]] = {
    "no spaces, and an environment to run": without_space,
    "broken metadata": lambda folder: (folder / "data/metadata.json").write_text("{"),
    "another format": lambda folder: changed_metadata(folder, data_format="arrow"),
    "an unknown space": lambda folder: changed_metadata(folder, action_space='{"type": "Maze"}'),
    "too many episodes": lambda folder: changed_metadata(folder, total_episodes=9),
    "no episodes": lambda folder: changed_metadata(folder, total_episodes=0),
    "text for the number": lambda folder: changed_metadata(folder, total_episodes="two"),
    "no file": lambda folder: (folder / "data/main_data.hdf5").unlink(),
    "an empty file": lambda folder: truncated(folder, 0),
    "half a file": lambda folder: truncated(folder, 3000),
    "an external link": lambda folder: edited(folder, external),
    "a circle of groups": lambda folder: edited(folder, circle),
    "no actions": lambda folder: edited(folder, lambda file: file["episode_1"].pop("actions")),
    "too few observations": lambda folder: edited(
        folder, lambda file: file["episode_1/observations/hand"].resize((2, 3))
    ),
    "too many rows": lambda folder: edited(folder, lambda file: file["episode_1/actions"].resize((10**9, 4))),
    "a wrong length": lambda folder: edited(folder, lambda file: file["episode_1"].attrs.modify("total_steps", 77)),
}


@pytest.mark.parametrize("harm", HOSTILE)
def test_a_hostile_dataset_gives_one_line_and_leaves_nothing(theirs: Path, tmp_path: Path, harm: str) -> None:
    HOSTILE[harm](theirs)
    with pytest.raises(SimScaleError) as caught:
        import_minari(theirs, tmp_path / "out", control_hz=20)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_changed_export_is_refused(exported: Path, tmp_path: Path) -> None:
    def edit(file: h5py.File) -> None:
        file["episode_1/actions"][0, 0] += 1

    edited(exported, edit)
    with pytest.raises(DatasetError, match="was changed after the export: episode 1"):
        import_minari(exported, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_minari_cannot_hold(tmp_path: Path, make_needs: Any, make_episode: Any, make_metadata: Any) -> None:
    needs = make_needs()
    with DatasetWriter(tmp_path / "source", needs) as writer:
        writer.write_episode(make_episode(needs, seed=0), make_metadata(0, instruction="a\0b"), 0)
    with pytest.raises(DatasetError, match="cannot hold the instruction of episode 0"):
        export_minari(tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "out").exists()
