"""Collecting: the same files whatever the shape and however often it was killed; and whether they can be believed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from eval import collect
from eval.verify import verify_dataset
from simscaleai.data import Dataset
from simscaleai.data.description import read_discarded

ROOT = Path(__file__).resolve().parent.parent.parent
REACH = ["--env", "reach", "--episodes", "5", "--cameras", "--action-noise", "0.2"]
SOME_FAIL = ["--env", "pick-place", "--episodes", "7", "--action-noise", "0.5", "--cameras"]
"""Of these, some episodes are kept and some discarded."""


@pytest.fixture(autouse=True)
def workdir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder):
    """Returns every file below `folder` with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def kept_and_discarded(tmp_path_factory):
    """A dataset of `SOME_FAIL` that was collected in one go."""
    folder = tmp_path_factory.mktemp("collected") / "dataset"
    assert collect.main([*SOME_FAIL, "--output", str(folder)]) == 0
    assert 0 < len(Dataset(folder).episodes) < 7
    assert len(Dataset(folder).episodes) + len(read_discarded(folder)) == 7
    return folder


@pytest.mark.parametrize("shape", [["--num-envs", "2"], ["--num-envs", "2", "--workers", "2"]])
def test_files_are_the_same_for_any_shape(kept_and_discarded, shape):
    assert collect.main([*SOME_FAIL, "--output", "other", *shape]) == 0
    assert contents("other") == contents(kept_and_discarded)


@pytest.mark.slow
def test_images_are_the_same_for_any_shape():
    flags = ["--env", "pick-place-language", "--episodes", "6", "--image-size", "32"]
    for name, shape in (("a", ["1", "1"]), ("b", ["6", "1"]), ("c", ["2", "3"])):
        assert collect.main([*flags, "--output", name, "--num-envs", shape[0], "--workers", shape[1]]) == 0
    assert contents("a") == contents("b") == contents("c")


@pytest.fixture
def deadly(workdir, monkeypatch):
    """A scripted expert that kills its process once, at its 250th step."""
    (workdir / "deadly.py").write_text(
        "import os, pathlib, signal\n"
        "from policies.scripted import EXPERTS\n\n\n"
        "def make(contract):\n"
        "    policy = EXPERTS['SimScale/PickPlace-v0'](contract)\n"
        "    inner, calls = policy.act, []\n\n"
        "    def act(observation, env_ids):\n"
        "        calls.append(None)\n"
        "        if len(calls) == 250 and not pathlib.Path('killed').exists():\n"
        "            pathlib.Path('killed').touch()\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return inner(observation, env_ids)\n\n"
        "    policy.act = act\n"
        "    return policy\n"
    )
    monkeypatch.syspath_prepend(str(workdir))
    return ["--model", "deadly:make"]


def test_a_killed_collection_is_a_dataset_and_resumes_to_the_same_files(deadly, workdir):
    command = [sys.executable, "-m", "eval.collect", *SOME_FAIL, *deadly, "--num-envs", "2", "--output", "broken"]
    paths = os.pathsep.join([str(ROOT), str(workdir)])
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    kept, discarded = len(Dataset("broken").episodes), len(read_discarded(Path("broken")))
    assert kept > 0
    assert discarded > 0
    assert kept + discarded < 7
    # What a kill may leave besides: half a line, and half a file.
    for name in ("episodes.jsonl", "discarded.jsonl"):
        with Path("broken", name).open("a") as file:
            file.write('{"episode_index": 6, "se')
    Path("broken/episodes/.episode_000006.safetensors.99.tmp").write_bytes(b"half")
    Path("broken/.dataset.json.99.tmp").write_bytes(b"half")
    assert collect.main([*SOME_FAIL, *deadly, "--output", "broken", "--resume"]) == 0
    assert collect.main([*SOME_FAIL, *deadly, "--output", "whole"]) == 0
    assert contents("broken") == contents("whole")


@pytest.mark.slow
def test_a_collection_whose_parent_was_killed_resumes_to_the_same_files(workdir):
    flags = ["--env", "pick-place", "--episodes", "40", "--action-noise", "0.5", "--image-size", "32"]
    command = [sys.executable, "-m", "eval.collect", *flags, "--num-envs", "3", "--workers", "2", "--output", "broken"]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
    index = Path("broken/episodes.jsonl")
    while not (index.exists() and index.read_text().count("\n") >= 5):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert 5 <= len(Dataset("broken").episodes) < 30
    assert verify_dataset(Path("broken")).differences == {}
    assert collect.main([*flags, "--output", "broken", "--resume", "--workers", "2"]) == 0
    assert collect.main([*flags, "--output", "whole"]) == 0
    assert contents("broken") == contents("whole")


def test_resuming_what_is_complete_says_the_same_again(kept_and_discarded, capsys):
    shutil.copytree(kept_and_discarded, "copy")
    capsys.readouterr()
    assert collect.main([*SOME_FAIL, "--output", "copy", "--resume"]) == 0
    out = capsys.readouterr().out
    assert "0 of 7 episodes are missing" in out
    kept = len(Dataset("copy").episodes)
    assert f"{kept}/7" in out
    assert f"{7 - kept}/7" in out
    assert contents("copy") == contents(kept_and_discarded)


def test_more_episodes_extend_a_dataset_and_fewer_are_refused(capsys):
    more = [*REACH[:3], "8", *REACH[4:]]
    assert collect.main([*REACH, "--output", "grown"]) == 0
    assert collect.main([*more, "--output", "grown", "--resume"]) == 0
    assert collect.main([*more, "--output", "whole"]) == 0
    assert contents("grown") == contents("whole")
    assert collect.main([*REACH, "--output", "grown", "--resume"]) == 2
    assert "resume it with --episodes of at least 8" in capsys.readouterr().err
    assert contents("grown") == contents("whole")


def test_resume_starts_what_was_not_begun():
    assert collect.main([*REACH, "--output", "new", "--resume"]) == 0
    Path("empty").mkdir()
    Path("empty/.dataset.json.7.tmp").write_bytes(b"ha")  # killed before there was anything
    assert collect.main([*REACH, "--output", "empty", "--resume"]) == 0
    assert contents("empty") == contents("new")


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--seed", "1000000007"], "seed there 1000000000, now 1000000007"),
        (["--action-noise", "0.1"], "action_noise there 0.2, now 0.1"),
        (["--keep-failures"], "keep_failures there False, now True"),
        (["--model", "random", "--expert", "scripted"], "expert there None, now 'scripted'; policy there 'scripted'"),
        (["--env", "pick-place"], "environments.SimScale/PickPlace-v0 there None"),
        (["--cameras", "front"], "cameras there [], now ['front']"),
    ],
)
def test_resuming_under_other_settings_is_refused(capsys, flags, text):
    assert collect.main([*REACH[:2], "--episodes", "1", *REACH[4:], "--output", "d"]) == 0
    before = contents("d")
    assert collect.main([*REACH, *flags, "--output", "d", "--resume"]) == 2
    assert text in capsys.readouterr().err
    assert contents("d") == before


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_full_disk_is_one_clear_line_and_costs_nothing(monkeypatch, capsys, workers):
    resource = pytest.importorskip("resource")
    assert collect.main([*REACH, "--output", "whole"]) == 0
    largest = max(map(len, contents("whole/episodes").values()))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    disposition = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest - 1, before[1]))
    try:
        assert collect.main([*REACH, "--output", "d", "--workers", workers]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, disposition)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: cannot write d/")
    assert "File too large" in error
    assert collect.main([*REACH, "--output", "d", "--resume"]) == 0
    assert contents("d") == contents("whole")


def test_an_interrupted_collection_says_how_to_continue(monkeypatch, capsys):
    from eval.observers.progress import Progress

    def interrupt(self, slot, result):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_episode_end", interrupt)
        assert collect.main([*REACH, "--output", "d"]) == 130
    out = capsys.readouterr().out
    assert "d: 1 episodes so far" in out
    assert "python -m eval.collect --output d --env reach --episodes 5" in out
    assert "--resume" in out


def test_two_collections_do_not_write_into_one_folder(capsys):
    fcntl = pytest.importorskip("fcntl")
    Path("d").mkdir()
    descriptor = os.open("d", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert collect.main([*REACH, "--output", "d"]) == 2
    os.close(descriptor)
    assert "another run is writing to d" in capsys.readouterr().err


def spoil(name, text):
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (spoil("dataset.json", '{"format": "x", "form'), "dataset.json is damaged"),
        (spoil("dataset.json", '{"format": "other", "format_version": 1}'), "is other version 1"),
        (spoil("dataset.json", '{"format": "simscaleai-dataset", "format_version": 99}'), "version 99"),
        (spoil("episodes.jsonl", "{}\n"), "episodes.jsonl line 1 is damaged"),
        (spoil("discarded.jsonl", "[1, 2]\n"), "discarded.jsonl is damaged"),
        (lambda folder: (folder / "episodes.jsonl").write_bytes(b"\xff\xfe\n"), "it is no text"),
        (lambda folder: (folder / "dataset.json").unlink(), "is not empty"),
    ],
)
@pytest.mark.parametrize("flags", [["--resume"], []])
def test_what_is_there_is_never_overwritten(kept_and_discarded, capsys, damage, text, flags):
    shutil.copytree(kept_and_discarded, "d")
    damage(Path("d"))
    before = contents("d")
    assert collect.main([*SOME_FAIL, "--output", "d", *flags]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert (text if flags else "not empty") in error[0]
    assert contents("d") == before


def test_a_file_in_place_of_the_folder_is_left_alone(capsys):
    Path("d").write_text("mine")
    for flags in ([], ["--resume"]):
        assert collect.main([*REACH, "--output", "d", *flags]) == 2
        assert "d is a file" in capsys.readouterr().err
    assert Path("d").read_text() == "mine"


@pytest.fixture(scope="session")
def collected(tmp_path_factory):
    """A small dataset with images."""
    folder = tmp_path_factory.mktemp("collected") / "dataset"
    flags = ["--env", "pick-place-language", "--episodes", "3", "--image-size", "16", "--cameras", "wrist"]
    assert collect.main([*flags, "--output", str(folder)]) == 0
    return folder


@pytest.fixture
def copy(collected, workdir):
    """A copy of it to spoil."""
    return Path(shutil.copytree(collected, workdir / "copy"))


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


def test_failures_and_relabelled_episodes_replay():
    flags = ["--env", "pick-place", "--episodes", "3", "--cameras", "--model", "random", "--expert", "scripted"]
    assert collect.main([*flags, "--output", "d"]) == 0
    assert [record.metadata["success"] for record in Dataset("d").episodes] == [False] * 3
    assert verify_dataset(Path("d")).differences == {}


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


def set_contract(**values):
    return describe_anew(lambda description: description["contract"].update(values))


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (set_contract(environments={"SimScale/PickPlaceLanguage-v0": "0"}), "scene digest of SimScale/PickPlaceL"),
        (set_contract(control_hz=10), "control_hz: dataset 10, environment 20"),
        (set_contract(render_profile="0"), "render_profile: dataset '0'"),
        (set_contract(environments={"SimScale/PickPlaceLanguag-v0": "0"}), "Did you mean 'SimScale/PickPlaceLanguage"),
        (set_contract(environments={}), "does not say which environment"),
        (describe_anew(lambda description: description["features"].pop("executed_action")), "no executed_action"),
        (lambda folder: (folder / "dataset.json").unlink(), "it has no dataset.json"),
        (lambda folder: (folder / "episodes/episode_000001.safetensors").unlink(), "is missing"),
    ],
)
def test_what_cannot_be_replayed_is_one_clear_line(copy, capsys, damage, text):
    damage(copy)
    assert collect.main(["--verify", str(copy)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert text in line
