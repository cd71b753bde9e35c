"""Verification: a dataset replays to the last bit, and whatever was changed is found."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from eval import collect
from eval.demonstrations.verification import verify_dataset
from simscaleai.data import Dataset


@pytest.fixture(scope="session")
def kept_and_discarded(tmp_path_factory):
    """A dataset of which some episodes are kept and some discarded."""
    folder = tmp_path_factory.mktemp("collected") / "dataset"
    flags = ["--env", "pick-place", "--episodes", "7", "--action-noise", "0.5", "--cameras"]
    assert collect.main([*flags, "--output", str(folder)]) == 0
    assert 0 < len(Dataset(folder).episodes) < 7
    return folder


@pytest.fixture(scope="session")
def collected(tmp_path_factory):
    """A small dataset with images."""
    folder = tmp_path_factory.mktemp("collected") / "dataset"
    flags = ["--env", "pick-place-language", "--episodes", "3", "--image-size", "16", "--cameras", "wrist"]
    assert collect.main([*flags, "--output", str(folder)]) == 0
    return folder


@pytest.fixture
def copy(collected, tmp_path):
    """A copy of it to spoil."""
    return Path(shutil.copytree(collected, tmp_path / "copy"))


def rewrite(folder, number, *, arrays=None, **changes):
    """Changes arrays and the line of one episode as somebody would who wants it to look right."""
    path = folder / f"episodes/episode_{number:06d}.safetensors"
    episode = load_file(path)
    if arrays:
        arrays(episode)
        save_file(episode, path)
    lines = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    lines[number] |= {"sha256": sha256(path.read_bytes()).hexdigest(), "length": len(episode["action"])} | changes
    (folder / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_every_kind_of_dataset_replays(kept_and_discarded, collected, capsys):
    for folder, images in ((collected, True), (kept_and_discarded, False)):
        dataset = Dataset(folder)
        finding = verify_dataset(folder)
        assert finding.differences == {}
        assert (finding.episodes, finding.frames) == (len(dataset.episodes), dataset.num_frames)
        assert finding.images == (dataset.num_frames if images else 0)
        assert finding.same_machine is True
    assert collect.main(["--verify", str(collected)]) == 0
    assert "replayed alike       3/3   100.0 %" in capsys.readouterr().out


def test_failures_and_relabelled_episodes_replay(tmp_path):
    flags = ["--env", "pick-place", "--episodes", "3", "--cameras", "--model", "random", "--expert", "scripted"]
    folder = tmp_path / "d"
    assert collect.main([*flags, "--output", str(folder)]) == 0
    assert [episode.metadata["success"] for episode in Dataset(folder).episodes] == [False] * 3
    assert verify_dataset(folder).differences == {}


def nudge(key, step):
    """Changes the last bit of one number."""

    def change(arrays):
        arrays[key] = arrays[key].copy()
        row = arrays[key][step]
        row[0] = np.nextafter(row[0], np.float32(9)) if row.dtype == np.float32 else row[0] ^ 1

    return change


def shorten(arrays):
    for key in arrays:
        arrays[key] = np.ascontiguousarray(arrays[key][:-1])


def lengthen(arrays):
    for key in arrays:
        arrays[key] = np.concatenate([arrays[key], arrays[key][-1:]])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"arrays": nudge("observation.state", 4)}, "observation.state of step 4 differs by up to"),
        ({"arrays": nudge("observation.state", 0)}, "observation.state of step 0"),
        ({"arrays": nudge("observation.environment_state", -1)}, "observation.environment_state of step"),
        ({"arrays": nudge("observation.images.wrist", 3)}, "observation.images.wrist of step 3"),
        ({"arrays": nudge("executed_action", 2)}, "step 3 differs by up to"),
        ({"arrays": nudge("executed_action", -1)}, "digest"),
        ({"arrays": shorten}, "length is stored as"),
        ({"arrays": lengthen}, "length is stored as"),
        ({"success": False}, "success is stored as False, the replay gives True"),
        ({"instruction": "sing"}, "instruction is stored as 'sing'"),
        ({"target": "pink"}, "target is stored as 'pink'"),
        ({"digest": "0"}, "digest is stored as '0'"),
        ({"seed": 1_000_000_009}, "observation.state of step 0"),
        ({"sha256": "0"}, "has changed since it was written"),
    ],
)
def test_verification_finds_whatever_was_changed(copy, capsys, changes, text):
    rewrite(copy, 1, **changes)
    assert collect.main(["--verify", str(copy)]) == 1
    out = capsys.readouterr().out
    assert "replayed alike       2/3   66.7 %" in out
    (line,) = [line for line in out.splitlines() if line.startswith("episode ")]
    assert line.startswith("episode 1 ")
    assert text in line


def describe_anew(change):
    def damage(folder):
        description = json.loads((folder / "dataset.json").read_text())
        change(description)
        (folder / "dataset.json").write_text(json.dumps(description))

    return damage


def set_needs(**values):
    return describe_anew(lambda description: description["needs"].update(values))


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (
            set_needs(environments={"SimScale/PickPlaceLanguage-v0": "0"}),
            "digest of SimScale/PickPlaceLanguage-v0: dataset 0",
        ),
        (set_needs(control_hz=10), "control rate: dataset 10, environment 20"),
        (set_needs(render_profile="0"), "render profile: dataset '0'"),
        (set_needs(environments={"SimScale/PickPlaceLanguag-v0": "0"}), "Did you mean 'SimScale/PickPlaceLanguage"),
        (set_needs(environments={}), "does not say which environment"),
        (describe_anew(lambda description: description["array_types"].pop("executed_action")), "no executed_action"),
        (lambda folder: (folder / "dataset.json").unlink(), "it has no dataset.json"),
        (lambda folder: (folder / "episodes/episode_000001.safetensors").unlink(), "is missing"),
    ],
)
def test_what_cannot_be_replayed_is_one_clear_line(copy, capsys, damage, text):
    damage(copy)
    assert collect.main(["--verify", str(copy)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert text in line


def test_an_interrupt_closes_the_environment(copy, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    closed = []
    monkeypatch.setattr("envs.tabletop.task_slots.TaskSlots.step", interrupted)
    monkeypatch.setattr("envs.tabletop.task_slots.TaskSlots.close", lambda env: closed.append(env))
    with pytest.raises(KeyboardInterrupt):
        verify_dataset(copy)
    assert len(closed) == 1
