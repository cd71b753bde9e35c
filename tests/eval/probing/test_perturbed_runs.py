"""Runs with perturbations: what their files hold, and that the shape of a run changes nothing."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval import collect, compare, record, rollout
from eval.comparison.replay import replay_command
from eval.demonstrations.verification import verify_dataset
from eval.runs.log_file import EPISODES_FILE, read_results
from eval.runs.reading import read_run
from eval.runs.receipts import read_receipts
from eval.runs.record import RunRecord

POLICY = "point_world:Homing"


@pytest.fixture
def run(tmp_path, monkeypatch, point_package):
    """Runs a policy in the point world; returns the folder."""
    monkeypatch.chdir(tmp_path)

    def run_policy(name, *perturb, flags=(), model=POLICY):
        words = ["--model", model, "--env", "point", "--episodes", "5", "--output", name, "--quiet"]
        asked = ["--perturb", *perturb] if perturb else []
        assert rollout.main([*words, *asked, *flags]) == 0
        return tmp_path / name

    return run_policy


def test_a_perturbed_episode_is_another_one_and_its_line_and_the_record_say_so(run):
    plain, perturbed = run("plain"), run("perturbed", "wind=2")
    assert RunRecord.read(plain).perturbations == {}
    assert RunRecord.read(perturbed).perturbations == {"wind=2": "wind 0.02 m"}
    assert RunRecord.read(perturbed).config["perturb"] == ["wind=2"]
    before, after = read_results(plain / EPISODES_FILE), read_results(perturbed / EPISODES_FILE)
    assert [result.seed for result in after] == [result.seed for result in before]
    assert not {result.digest for result in after} & {result.digest for result in before}
    assert {(result.arm, result.perturbation["wind"]) for result in after} == {("wind=2", 0.02)}


def test_level_0_gives_the_bytes_of_a_plain_run(run):
    plain = run("plain")
    for text in ("wind=0", "wind=0m"):
        perturbed = run(f"level-{text}", text)
        for file in (EPISODES_FILE, "receipts.json"):
            assert (perturbed / file).read_bytes() == (plain / file).read_bytes()


@pytest.mark.parametrize("shape", [("--num-envs", "1"), ("--num-envs", "2", "--workers", "2")])
def test_the_shape_of_a_run_changes_nothing(run, shape):
    one, other = run("one", "wind=4"), run("other", "wind=4", flags=shape)
    assert (one / EPISODES_FILE).read_bytes() == (other / EPISODES_FILE).read_bytes()


def test_resume_needs_the_same_perturbation(run, capsys):
    folder = run("run", "wind=2")
    before = (folder / EPISODES_FILE).read_bytes()
    words = ["--model", POLICY, "--env", "point", "--episodes", "5", "--output", "run", "--resume"]
    assert rollout.main([*words, "--perturb", "wind=3"]) == 2
    assert 'config.perturb: was ["wind=2"], is ["wind=3"]' in capsys.readouterr().err
    assert rollout.main([*words, "--perturb", "wind=2"]) == 0
    assert (folder / EPISODES_FILE).read_bytes() == before


def test_the_replay_command_gives_the_same_episode(tmp_path, monkeypatch, point_package, capsys):
    monkeypatch.chdir(tmp_path)
    flags = ["--model", POLICY, "--env", "point", "--perturb", "wind=5", "--json"]
    assert rollout.main([*flags, "--episodes", "3", "--output", "first"]) == 0
    replay = json.loads(capsys.readouterr().out)["replay"].split()[3:]
    assert rollout.main([*replay, "--output", "again"]) == 0
    (again,) = read_results(tmp_path / "again" / EPISODES_FILE)
    first = {result.seed: result for result in read_results(tmp_path / "first" / EPISODES_FILE)}
    assert again.digest == first[again.seed].digest


def test_compare_names_perturbations_and_replays_them(run, capsys):
    run("plain")
    run("perturbed", "wind=5")
    compare.main(["plain", "perturbed"])
    printed = capsys.readouterr().out
    assert "perturbation of B" in printed
    assert "wind 0.05 m" in printed
    compare.main(["plain", "perturbed", "--json"])
    data = json.loads(capsys.readouterr().out)
    assert (data["a"]["perturbations"], data["b"]["perturbations"]) == ({}, {"wind=5": "wind 0.05 m"})


def test_the_terminal_says_what_is_perturbed(run, capsys):
    assert rollout.main(["--model", POLICY, "--env", "point", "--episodes", "2", "--perturb", "wind=-1"]) == 0
    assert capsys.readouterr().out.count("wind -0.01 m") == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("wnid=2", "Unknown axis 'wnid'. Did you mean 'wind'?"),
        ("wind=9", "expected a level from 0 to 5 for wind, or a magnitude such as 0.03m; got 'wind=9'"),
        ("wind=0..2", "only eval.collect draws from a range of levels"),
    ],
)
def test_a_mistake_is_one_line_and_starts_nothing(tmp_path, monkeypatch, point_package, capsys, text, says):
    monkeypatch.chdir(tmp_path)
    assert rollout.main(["--model", POLICY, "--env", "point", "--perturb", text, "--output", "run"]) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


READING = "point_world:Reading"
PROBES = ("latency=2", "action.noise=2", "state.noise=3", "words.typos=2", "image.noise=2", "feed.frozen=4")


@pytest.mark.parametrize("perturb", PROBES)
def test_a_probe_changes_episodes_in_every_shape_alike_and_level_0_changes_nothing(run, perturb):
    plain, level_0 = run("plain", model=READING), run("level-0", perturb.split("=")[0] + "=0", model=READING)
    one, many = (run(n, perturb, model=READING, flags=["--num-envs", n]) for n in ("1", "4"))
    for file in (EPISODES_FILE, "receipts.json"):
        assert (one / file).read_bytes() == (many / file).read_bytes()
        assert (plain / file).read_bytes() == (level_0 / file).read_bytes()
    digests = [[result.digest for result in read_results(folder / EPISODES_FILE)] for folder in (plain, one)]
    assert sum(before != after for before, after in zip(*digests, strict=True)) >= 3


def test_all_probes_together_in_workers(run):
    here = run("here", *PROBES, model=READING)
    workers = run("workers", *PROBES, model=READING, flags=["--num-envs", "2", "--workers", "2"])
    assert (here / EPISODES_FILE).read_bytes() == (workers / EPISODES_FILE).read_bytes()
    assert read_receipts(here) == read_receipts(workers)


def test_record_and_receipts_tell_what_reached_the_policy(run):
    folder = run("run", "words.missing=5", "feed.missing=5", flags=["--delay", "2"], model="point_world:Reading")
    record = RunRecord.read(folder)
    assert record.perturbations == {
        "words.missing=5": "words.missing 100 %",
        "feed.missing=5": "feed.missing 100 %",
        "latency=200ms": "latency 200 ms",
    }
    assert record.config["delay"] == 2
    results = read_results(folder / EPISODES_FILE)
    assert {result.instruction for result in results} == {""}
    assert {result.perturbation["latency"] for result in results} == {200}
    receipts = read_receipts(folder)
    assert {receipt.instruction for receipt in receipts} == {""}
    images = [Image.open(io.BytesIO(base64.b64decode(receipt.images["front"]))) for receipt in receipts]
    assert not any(np.asarray(image).any() for image in images)
    command = replay_command(read_run(folder), results[3:4])
    assert command.endswith("--perturb words.missing=5 feed.missing=5 --delay 2 --seeds 3")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--perturb", "image.blur=2"], "image.blur changes nothing: the policy sees no images; leave it out"),
        (["--perturb", "image=1"], "image.brightness changes nothing: the policy sees no images"),
        (["--perturb", "words.typos=2"], "words.typos changes nothing: the policy reads no instructions"),
        (["--delay", "-1"], "expected a --delay of at least 0 control steps, got -1"),
        (["--delay", "2", "--perturb", "latency=1"], "expected one setting of the axis latency, got latency=1 and"),
        (["--delay", "1000000"], "expected at most 60000ms for latency"),
        (["--perturb", "image.blur.wrist=2"], "Unknown axis 'image.blur.wrist'. Did you mean 'image.blur.front'?"),
        (["--perturb", "action.noise=-2"], "the axis action.noise has no direction"),
        (["--perturb", "image.jpeg=100points"], "expected at most 99points for image.jpeg"),
        (["--model", "point_world:Reading", "--perturb", "feed.swapped=2"], "no second camera with images of the same"),
        (["--model", "zero", "--perturb", "state.noise=2"], "the policy reads nothing that a robot measures"),
    ],
)
@pytest.mark.parametrize("command", [rollout, record])
def test_perturbations_that_are_wrong_or_change_nothing_are_refused(
    tmp_path, monkeypatch, point_package, capsys, command, flags, says
):
    monkeypatch.chdir(tmp_path)
    assert command.main(["--model", POLICY, "--env", "point", *flags, "--output", "run"]) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def collected(name, *flags, code=0):
    words = ["--env", "point", "--model", READING, "--episodes", "6", "--image-size", "8", "--keep-failures"]
    assert collect.main([*words, "--output", name, "--quiet", *flags]) == code
    return Path(name)


def content(folder):
    """Return the bytes of all files of a dataset, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


RANGES = ["--perturb", "wind=1..4", "words.typos=0..3", "image.noise.front=2..3", "--delay", "1"]


def test_a_collection_draws_perturbations_per_episode_records_them_and_replays(tmp_path, monkeypatch, point_package):
    monkeypatch.chdir(tmp_path)
    one = collected("one", *RANGES)
    many = collected("many", *RANGES, "--workers", "2", "--num-envs", "2")
    assert content(one) == content(many)
    lines = [json.loads(line) for line in (one / "episodes.jsonl").read_text().splitlines()]
    winds = [line["perturbation"]["wind"] for line in lines]
    assert len(set(winds)) == 6
    assert all(0.01 <= wind <= 0.04 for wind in winds)
    assert {line["perturbation"]["latency"] for line in lines} == {100}
    assert {line["arm"] for line in lines} == {"wind=1..4 words.typos=0..3 image.noise.front=2..3 latency=100ms"}
    assert {line["instruction"] for line in lines} != {f"move {number}" for number in range(3)}
    assert verify_dataset(one, progress=False).differences == {}


def test_a_collection_resumes_only_with_the_same_perturbations(tmp_path, monkeypatch, point_package, capsys):
    monkeypatch.chdir(tmp_path)
    whole, part = collected("whole", *RANGES), collected("part", *RANGES, "--episodes", "2")
    collected("part", *RANGES, "--resume")
    assert content(part) == content(whole)
    collected("part", *RANGES[:-1], "2", "--resume", code=2)
    assert "delay: was 1, is 2" in capsys.readouterr().err
    plain = collected("plain")
    assert not {"perturb", "delay"} & json.loads((plain / "dataset.json").read_text())["provenance"].keys()


def test_a_dataset_without_the_perturbation_of_an_episode_does_not_replay(tmp_path, monkeypatch, point_package):
    monkeypatch.chdir(tmp_path)
    folder = collected("data", "--perturb", "wind=3")
    lines = (folder / "episodes.jsonl").read_text().replace('"wind": 0.03', '"wind": 0.02')
    (folder / "episodes.jsonl").write_text(lines)
    assert len(verify_dataset(folder, progress=False).differences) == 6
