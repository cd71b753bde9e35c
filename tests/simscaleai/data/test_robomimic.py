"""HDF5 of robomimic: what stands in the file, and reading back ours and others'."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from simscaleai.contract import Layout
from simscaleai.data import Dataset, DatasetError, DatasetWriter
from simscaleai.data.__main__ import main
from simscaleai.data.exchange.foreign import ImportOptions
from simscaleai.data.robomimic import export_robomimic, import_robomimic
from simscaleai.errors import SimScaleError


@pytest.fixture
def source(write_source: Any, make_needs: Any) -> Path:
    """A dataset with two cameras."""
    written: Path = write_source(make_needs(cameras=("front", "wrist")))
    return written


@pytest.fixture
def exported(source: Path, tmp_path: Path) -> Path:
    export_robomimic(source, tmp_path / "exported", privileged=True)
    return tmp_path / "exported" / "demo.hdf5"


def test_the_file_is_as_robomimic_reads_it(source: Path, exported: Path) -> None:
    ours = Dataset(source)
    with h5py.File(exported) as file:
        assert file["data"].attrs["total"] == 17
        assert json.loads(file["data"].attrs["env_args"]) == {
            "env_name": "SimScale/Toy-v0",
            "type": 2,
            "env_kwargs": {"control_freq": 20},
        }
        assert [name.decode() for name in file["mask/successful"]] == ["demo_0", "demo_2"]
        for number in range(3):
            group, arrays = file[f"data/demo_{number}"], ours.episode(number)
            assert group.attrs["num_samples"] == len(arrays["action"])
            np.testing.assert_array_equal(group["actions"], arrays["action"])
            np.testing.assert_array_equal(group["obs/state"], arrays["observation.state"])
            np.testing.assert_array_equal(group["obs/wrist_image"], arrays["observation.images.wrist"])
            assert group["dones"][:].tolist() == [*[0] * (len(arrays["action"]) - 1), 1]
            assert group["rewards"][:].sum() == (number != 1)


def test_simulator_truth_stays_out_unless_asked_for(source: Path, tmp_path: Path) -> None:
    export_robomimic(source, tmp_path / "exported")
    with h5py.File(tmp_path / "exported" / "demo.hdf5") as file:
        assert sorted(file["data/demo_0/obs"]) == ["front_image", "state", "wrist_image"]
    assert import_robomimic(tmp_path / "exported", tmp_path / "back") == []
    assert Dataset(tmp_path / "back").needs.privileged == ()


def test_the_command(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, back = str(tmp_path / "out"), str(tmp_path / "back")
    assert main(["export", "--format", "robomimic", str(source), "--output", out, "--privileged"]) == 0
    assert "states and models are not stored" in capsys.readouterr().out
    assert main(["import", "--format", "robomimic", out, "--output", back]) == 0
    assert "3, 2 successful; 1 discarded" in capsys.readouterr().out
    assert main(["import", "--format", "lerobot", out, "--output", back, "--control-hz", "9"]) == 2


@pytest.mark.parametrize("name", ["rewards", "obs", "a/b", ".", "next_obs"])
def test_names_that_the_file_cannot_hold(
    tmp_path: Path, make_needs: Any, make_episode: Any, make_metadata: Any, name: str
) -> None:
    needs = make_needs()
    with DatasetWriter(tmp_path / "source", needs) as writer:
        arrays = make_episode(needs, seed=0)
        writer.write_episode(arrays | {name: arrays["action"]}, make_metadata(0), 0)
    with pytest.raises(DatasetError, match="robomimic cannot hold an array called"):
        export_robomimic(tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A file as robosuite's demonstrations are: parts of the state, object, two cameras, depth."""
    rng, path = np.random.default_rng(0), tmp_path / "theirs.hdf5"
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        args = {"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 20, "robots": ["Panda"]}}
        data.attrs["env_args"] = json.dumps(args)
        for number in (0, 2, 10):
            group = data.create_group(f"demo_{number}")
            length = number + 3
            group.attrs["num_samples"] = length
            group["actions"] = rng.uniform(-1, 1, (length, 7))
            group["states"] = rng.normal(size=(length, 32))
            group["rewards"] = np.zeros(length)
            group["obs/object"] = rng.normal(size=(length, 10))
            group["obs/robot0_eef_pos"] = rng.normal(size=(length, 3))
            group["obs/robot0_gripper_qpos"] = rng.normal(size=(length, 2))
            group["obs/agentview_image"] = rng.integers(0, 256, (length, 8, 8, 3), dtype=np.uint8)
            group["obs/agentview_depth"] = rng.normal(size=(length, 8, 8, 1))
    return path


def test_a_file_of_others(theirs: Path, tmp_path: Path) -> None:
    notes = import_robomimic(theirs, tmp_path / "out")
    ours = Dataset(tmp_path / "out")
    assert [episode.length for episode in ours.episodes] == [3, 5, 13]
    assert ours.needs.control_hz == 20
    assert ours.needs.privileged == ("environment_state",)
    assert str(ours.needs.vectors["state"]).startswith("robot0_eef_pos(3)")
    with h5py.File(theirs) as file:
        group, arrays = file["data/demo_10"], ours.episode(2)
        np.testing.assert_array_equal(arrays["action"], group["actions"][:].astype(np.float32))
        np.testing.assert_array_equal(arrays["observation.state"][:, 3:], np.float32(group["obs/robot0_gripper_qpos"]))
        np.testing.assert_array_equal(arrays["observation.images.agentview"], group["obs/agentview_image"])
    assert any("left out: observation.images.agentview_depth, rewards, states" in note for note in notes)


def test_images_are_scaled(theirs: Path, tmp_path: Path) -> None:
    import_robomimic(theirs, tmp_path / "out", ImportOptions(image_size=(4, 4)))
    assert Dataset(tmp_path / "out").episode(0)["observation.images.agentview"].shape == (3, 4, 4, 3)


def test_a_file_that_does_not_say_its_rate(theirs: Path, tmp_path: Path) -> None:
    with h5py.File(theirs, "a") as file:
        del file["data"].attrs["env_args"]
    with pytest.raises(DatasetError, match="add --control-hz"):
        import_robomimic(theirs, tmp_path / "out")
    import_robomimic(theirs, tmp_path / "out", control_hz=30)
    assert Dataset(tmp_path / "out").needs.control_hz == 30


def external(file: h5py.File, path: str) -> None:
    with h5py.File(Path(file.filename).parent / "other.hdf5", "w") as other:
        other["values"] = np.zeros((3, 7))
    del file[path]
    file[path] = h5py.ExternalLink("other.hdf5", "values")


def foreign_bytes(file: h5py.File, path: str) -> None:
    del file[path]
    file.create_dataset(path, (3, 7), np.uint8, external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])


def replaced(file: h5py.File, path: str, values: Any) -> None:
    del file[path]
    file[path] = values


def huge(file: h5py.File, path: str) -> None:
    del file[path]
    file.create_dataset(path, (3, 10**12), np.float64, chunks=(1, 1024))


HOSTILE: dict[str, Callable[[h5py.File], Any]] = {
    "an external link": lambda file: external(file, "data/demo_0/actions"),
    "an external link in obs": lambda file: external(file, "data/demo_0/obs/robot0_eef_pos"),
    "bytes of another file": lambda file: foreign_bytes(file, "data/demo_0/actions"),
    "a soft link": lambda file: replaced(file, "data/demo_0/actions", h5py.SoftLink("/data/demo_2/actions")),
    "far too many values": lambda file: huge(file, "data/demo_0/actions"),
    "no data": lambda file: file.pop("data"),
    "no demonstration": lambda file: [file["data"].pop(name) for name in list(file["data"])],
    "no actions": lambda file: file["data/demo_2"].pop("actions"),
    "no obs": lambda file: file["data/demo_2"].pop("obs"),
    "no obs at all": lambda file: [file[f"data/demo_{number}"].pop("obs") for number in (0, 2, 10)],
    "a missing observation": lambda file: file["data/demo_2/obs"].pop("object"),
    "text for actions": lambda file: replaced(file, "data/demo_0/actions", ["a", "b", "c"]),
    "a number for actions": lambda file: replaced(file, "data/demo_0/actions", 3.0),
    "a group for actions": lambda file: (file["data/demo_0"].pop("actions"), file.create_group("data/demo_0/actions")),
    "another length": lambda file: replaced(file, "data/demo_2/obs/object", np.zeros((4, 10))),
    "another width": lambda file: replaced(file, "data/demo_2/obs/object", np.zeros((5, 9))),
    "not a number": lambda file: replaced(file, "data/demo_2/actions", np.full((5, 7), np.nan)),
    "a wrong number of samples": lambda file: file["data/demo_2"].attrs.modify("num_samples", 9),
    "text for the number of samples": lambda file: file["data/demo_2"].attrs.create("num_samples", "many"),
    "broken env_args": lambda file: file["data"].attrs.modify("env_args", "{"),
    "a list as env_args": lambda file: file["data"].attrs.modify("env_args", "[]"),
    "a rate of 0": lambda file: file["data"].attrs.modify("env_args", '{"env_kwargs": {"control_freq": 0}}'),
    "images of another size": lambda file: replaced(
        file, "data/demo_2/obs/agentview_image", np.zeros((5, 9, 8, 3), np.uint8)
    ),
    "our record is broken": lambda file: file.create_dataset("simscaleai", data="{"),
    "our record is a link": lambda file: external(file.create_group("x") and file, "x") or file.move("x", "simscaleai"),
}


@pytest.mark.parametrize("harm", HOSTILE)
def test_a_hostile_file_gives_one_line_and_leaves_nothing(theirs: Path, tmp_path: Path, harm: str) -> None:
    with h5py.File(theirs, "a") as file:
        HOSTILE[harm](file)
    with pytest.raises(SimScaleError) as caught:
        import_robomimic(theirs, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [0, 7, 100, 2000, -1])
def test_a_truncated_file_gives_one_line_and_leaves_nothing(exported: Path, tmp_path: Path, size: int) -> None:
    exported.write_bytes(exported.read_bytes()[:size])
    with pytest.raises(SimScaleError) as caught:
        import_robomimic(exported, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_changed_export_is_refused(exported: Path, tmp_path: Path) -> None:
    with h5py.File(exported, "a") as file:
        file["data/demo_1/actions"][0, 0] += 1
    with pytest.raises(DatasetError, match="was changed after the export: episode 1"):
        import_robomimic(exported, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_without_our_record_is_read_as_of_unknown_origin(exported: Path, tmp_path: Path) -> None:
    with h5py.File(exported, "a") as file:
        del file["simscaleai"]
    import_robomimic(exported, tmp_path / "out")
    ours = Dataset(tmp_path / "out")
    assert ours.needs.environments == {}
    assert isinstance(ours.needs.vectors["state"], Layout)
    assert ours.episodes[0].metadata["instruction"] == "go to goal 0"


def test_several_environments_do_not_fit(tmp_path: Path, make_needs: Any, make_dataset: Any) -> None:
    folder = make_dataset(tmp_path / "source", make_needs(environments={"A-v0": "a", "B-v0": "b"}))
    with pytest.raises(DatasetError, match="holds one environment, got A-v0, B-v0"):
        export_robomimic(folder, tmp_path / "out")
