"""Runs with perturbations: what their files hold, and that the shape of a run changes nothing."""

import json

import pytest

from eval import compare, rollout
from eval.runs.log_file import EPISODES_FILE, read_results
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
