"""Shards of a collection, collected one by one and merged, are the dataset itself."""

import json
import shutil
from pathlib import Path

import pytest

from eval import collect, merge, rollout
from eval.demonstrations.verification import verify_dataset
from simscaleai.data import Dataset
from simscaleai.data.episode_list import read_discarded

SOME_FAIL = ["--env", "pick-place", "--episodes", "7", "--action-noise", "0.6", "--cameras", "--quiet"]
"""Of these, some episodes are kept and some discarded."""


pytestmark = pytest.mark.usefixtures("workdir")


@pytest.fixture(scope="session")
def collected(tmp_path_factory):
    """A folder with the dataset `plain` of `SOME_FAIL`, and with its shards `s1` and `s2`."""
    folder = tmp_path_factory.mktemp("collected")
    assert collect.main([*SOME_FAIL, "--output", str(folder / "plain")]) == 0
    for number in (1, 2):
        assert collect.main([*SOME_FAIL, "--shard", f"{number}/2", "--output", str(folder / f"s{number}")]) == 0
    return folder


@pytest.fixture
def shards(collected):
    for name in ("s1", "s2"):
        shutil.copytree(collected / name, name)


def contents(folder):
    """Returns every file below `folder` with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_merged_shards_are_the_undivided_dataset(collected, shards, capsys):
    before = contents("s1"), contents("s2")
    assert len(read_discarded(Path("s1"))) + len(read_discarded(Path("s2"))) > 0
    assert merge.main(["s2", "s1", "--output", "whole", "--json"]) == 0
    assert contents("whole") == contents(collected / "plain")
    assert (contents("s1"), contents("s2")) == before
    told = json.loads(capsys.readouterr().out)
    assert told == {"folder": "whole", "kept": len(Dataset("whole").episodes), "discarded": 7 - told["kept"]}
    assert verify_dataset(Path("whole"), progress=False).differences == {}
    assert collect.main([*SOME_FAIL, "--output", "whole", "--resume"]) == 0  # it is a dataset like any other


def test_a_shard_is_a_dataset_and_knows_its_place(shards, capsys):
    assert verify_dataset(Path("s2"), progress=False).differences == {}
    indices = [episode.episode_index for episode in Dataset("s2").episodes]
    indices += [entry["episode_index"] for entry in read_discarded(Path("s2"))]
    assert sorted(indices) == [1, 3, 5]
    for flags, text in ((["--shard", "1/2"], "provenance.shard.number: was 2, is 1"), ([], "provenance.shard: was")):
        assert collect.main([*SOME_FAIL, *flags, "--output", "s2", "--resume"]) == 2
        assert text in capsys.readouterr().err


def test_an_unfinished_shard_is_refused_and_resumes_to_the_same_bytes(collected, shards, refused):
    lines = Path("s1/episodes.jsonl").read_text().splitlines(keepends=True)
    Path("s1/episodes.jsonl").write_text("".join(lines[:-1]))
    assert "s1, shard 1/2, has 3 of 4 episodes; the first that is missing is episode" in refused("s1", "s2")
    assert collect.main([*SOME_FAIL, "--shard", "1/2", "--output", "s1", "--resume"]) == 0
    assert merge.main(["s1", "s2", "--output", "whole", "--quiet"]) == 0
    assert contents("whole") == contents(collected / "plain")


def set_provenance(folder, name, value):
    path = Path(folder, "dataset.json")
    data = json.loads(path.read_text())
    data["provenance"][name] = value
    path.write_text(json.dumps(data))


def flip_a_bit(folder):
    path = min(Path(folder, "episodes").iterdir())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda: shutil.rmtree("s2"), "expected shards of one kind, got the dataset s1, and s2"),
        (lambda: set_provenance("s2", "seed", 7), "provenance.seed: A has 1000000000, B has 7"),
        (lambda: set_provenance("s2", "fingerprint", {}), "fingerprint.machine: A has"),
        (lambda: set_provenance("s2", "shard", {"number": 2, "of": 3, "episodes": 7}), "shard.of: A has 2, B has 3"),
        (lambda: set_provenance("s2", "shard", {"number": 2, "of": 2, "episodes": 9}), "episodes: A has 7, B has 9"),
        (
            lambda: set_provenance("s2", "shard", {"number": 3, "of": 2, "episodes": 9}),
            "shard 3/2 of 9 episodes is",
        ),
        (lambda: set_provenance("s2", "shard", "2/2"), "the provenance of s2 names no shard"),
        (lambda: flip_a_bit("s2"), "has changed since it was written"),
        (lambda: [path.unlink() for path in Path("s2/episodes").iterdir()], "No such file"),
        (lambda: Path("s2/episodes.jsonl").write_text("{}\n"), "s2/episodes.jsonl line 1 is damaged"),
    ],
)
def test_what_is_not_one_complete_collection_is_refused(shards, refused, damage, says):
    damage()
    assert says in refused("s1", "s2")


def test_a_whole_dataset_and_a_run_are_no_shards_of_a_collection(collected, shards, refused):
    message = refused("s1", str(collected / "plain"))
    assert "plain, which is a whole dataset; simscaleai.train takes several datasets" in message
    assert rollout.main(["--model", "zero", "--env", "reach", "--episodes", "2", "--output", "run", "--quiet"]) == 0
    assert "expected shards of one kind, got the dataset s1, and run" in refused("s1", "run")
    assert "expected each shard once, got s1 twice" in refused("s1", "s1")
    assert "shard 2/2 is in none of the folders" in refused("s1")


def test_more_shards_than_episodes_are_refused(capsys):
    assert collect.main([*SOME_FAIL, "--shard", "8/8", "--output", "s"]) == 2
    assert "expected at most as many shards as the 7 episodes" in capsys.readouterr().err
    assert not list(Path().iterdir())
