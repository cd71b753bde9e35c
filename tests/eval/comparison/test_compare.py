"""`eval.compare` as users meet it: what it refuses, what it says, how it ends."""

import json
import re
from dataclasses import replace
from math import exp
from pathlib import Path

import pytest
from run_folders import RECORD, changed, episode, stopped, write_run

from eval import compare
from eval.runs.log_file import EPISODES_FILE, read_results, write_results
from eval.statistics.paired import PairedCounts, difference_sequence, log_e_value
from eval.statistics.power import mcnemar_power
from eval.statistics.sequential import confidence_sequence


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    """Makes a run folder from one character for each episode: + success, - failure, E error."""
    monkeypatch.chdir(tmp_path)
    return lambda name, outcomes, **options: str(write_run(Path(name), outcomes, **options))


def cells(both, only_a, only_b, neither):
    """Returns the outcomes of A and of B."""
    a = "+" * both + "+" * only_a + "-" * only_b + "-" * neither
    b = "+" * both + "-" * only_a + "+" * only_b + "-" * neither
    return a, b


@pytest.mark.parametrize(
    ("counts", "options", "code", "verdict"),
    [
        ((33, 2, 12, 3), [], 0, "B is better than A"),
        ((33, 12, 2, 3), [], 1, "B is worse than A"),
        ((33, 12, 2, 3), ["--margin", "5pp"], 1, "B is worse than A"),
        ((33, 3, 4, 10), [], 2, "cannot tell; about "),
        ((33, 3, 3, 11), [], 2, "cannot tell"),
        ((90, 2, 2, 6), [], 2, "cannot tell"),
        ((93, 1, 1, 5), ["--margin", "5pp"], 0, "B is within the margin: no more than 5.0 pp worse than A"),
        ((93, 1, 1, 5), ["--margin", "0.05"], 0, "B is within the margin: no more than 5.0 pp worse than A"),
        ((90, 2, 2, 6), ["--margin", "3%"], 2, "cannot tell; B may be 5.3 pp worse than A, the margin is 3.0 pp"),
        # Worse for sure, but by less than the user cares about
        ((985, 12, 1, 2), ["--margin", "5pp"], 0, "B is within the margin: no more than 5.0 pp worse than A"),
        ((985, 12, 1, 2), ["--margin", "1pp"], 1, "B is worse than A"),
        ((985, 1, 12, 2), ["--margin", "1pp"], 0, "B is better than A"),
        ((0, 0, 4, 0), [], 2, "cannot tell"),
    ],
)
def test_verdict_and_exit_code(make_run, capsys, counts, options, code, verdict):
    a, b = cells(*counts)
    assert compare.main([make_run("a", a), make_run("b", b), *options]) == code
    (said,) = re.findall(r"^verdict +(.*)$", capsys.readouterr().out, re.MULTILINE)
    assert said.startswith(verdict)


def test_what_is_printed(make_run, capsys):
    a, b = cells(33, 2, 12, 3)
    compare.main([make_run("a", a), make_run("b", b)])
    assert capsys.readouterr().out.splitlines()[:16] == [
        "A                    a: bc, identity 5bce5bce5bce",
        "B                    b: bc, identity 5bce5bce5bce",
        "episodes             SimScale/PickPlace-v0, 50 episodes, seeds 0 to 49",
        "success              at any step, which ends the episode",
        "",
        "both succeed            33    66.0 %",
        "only A                   2     4.0 %",
        "only B                  12    24.0 %",
        "neither                  3     6.0 %",
        "A                    35/50   70.0 %   95 % interval [56.2, 80.9] (Wilson)",
        "B                    45/50   90.0 %   95 % interval [78.6, 95.7] (Wilson)",
        "B - A                +20.0 pp   95 % interval [+5.4, +34.1] (Newcombe, paired)",
        "p                    0.013 (exact McNemar, two-sided, 14 discordant pairs)",
        "smallest difference  21.1 pp is detectable with 80 % power, at this rate of discordant pairs",
        "verdict              B is better than A",
        "",
    ]


def test_a_policy_that_gets_simulator_truth_is_told(make_run, capsys):
    needs = RECORD.environment.needs("state", "environment_state")
    compare.main([make_run("a", "++--"), make_run("b", "++++", record=changed(policy={"needs": needs}))])
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert "simulator truth" not in first
    assert second.endswith("; gets simulator truth: environment_state")


def test_more_episodes_like_these_would_decide(make_run, capsys):
    """A run of the number of episodes that is named, with the same shares, is near the edge of significance."""
    a, b = cells(30, 4, 8, 8)
    compare.main([make_run("a", a), make_run("b", b)])
    out = capsys.readouterr().out
    needed = int(re.search(r"about (\d+) episodes would detect a difference of 8.0 pp \(80 % power\)", out)[1])
    assert mcnemar_power(needed, 0.08, 0.24) == pytest.approx(0.8, abs=0.01)


def test_too_few_episodes_are_told(make_run, capsys):
    assert compare.main([make_run("a", "---"), make_run("b", "+++")]) == 2
    assert "smallest difference  none is detectable: 3 episodes are too few" in capsys.readouterr().out


def test_episodes_are_paired_by_seed_whatever_their_order(make_run, capsys):
    make_run("a", "+-+-")
    make_run("b", "-+-+")
    results = read_results(Path("b") / EPISODES_FILE)
    turned = [replace(result, episode_index=3 - result.episode_index) for result in results]
    write_results(Path("b") / EPISODES_FILE, turned)
    compare.main(["a", "b", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["pairs"] == {"both": 0, "only_a": 2, "only_b": 2, "neither": 0}
    assert [pair["seed"] for pair in found["discordant"]] == [0, 1, 2, 3]
    assert all(pair["a"]["seed"] == pair["b"]["seed"] for pair in found["discordant"])


def test_errors_are_no_success_and_are_named(make_run, capsys):
    compare.main([make_run("a", "++++EE"), make_run("b", "++++++")])
    out = capsys.readouterr().out
    assert "only B                   2" in out
    assert re.search(r"^A +4/6 .*; 2 could not be run and count as not successful$", out, re.MULTILINE)
    assert out.count("could not be run") == 1
    assert re.search(r"^errors +had they run, B - A would be in \[\+0\.0, \+33\.3\] pp$", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("a", "b", "options", "code"),
    [
        ("+" * 12 + "E" * 8, "+" * 20, [], 2),  # had they run, A could be as good as B
        ("+" * 20, "+" * 12 + "E" * 8, [], 2),
        ("-" * 12 + "E" * 8, "+" * 20, [], 0),  # B is better whatever they had come to
        ("+" * 20, "-" * 12 + "E" * 8, [], 1),
        ("+" * 92 + "E" * 8, "+" * 100, ["--margin", "6pp"], 0),  # better, or as good: both within the margin
        ("+" * 100, "+" * 92 + "E" * 8, ["--margin", "6pp"], 2),
    ],
    ids=["A may be as good", "B may be as good", "better anyway", "worse anyway", "within anyway", "B may be within"],
)
@pytest.mark.parametrize("sequential", [False, True])
def test_nothing_is_said_that_hinges_on_what_could_not_be_run(make_run, capsys, a, b, options, code, sequential):
    record = replace(RECORD, sequential=stopped(len(a), len(a))) if sequential else RECORD
    assert compare.main([make_run("a", a), make_run("b", b, record=record), *options]) == code
    assert ("it depends on episodes that could not be run" in capsys.readouterr().out) == (code == 2)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"environment": {"env_id": "SimScale/Reach-v0"}},
            "environment: A has SimScale/PickPlace-v0, B has SimScale/Reach-v0",
        ),
        ({"environment": {"digest": "77"}}, "environment digest: A has ea6e, B has 77"),
        ({"config": {"terminate_on_success": False}}, "success ends the episode: A has True, B has False"),
        ({"environment": {"max_episode_steps": 100}}, "max episode steps: A has 150, B has 100"),
    ],
)
def test_runs_of_something_else_are_refused(make_run, capsys, change, line):
    assert compare.main([make_run("a", "+-+"), make_run("b", "+++", record=changed(**change))]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"  {line}" in captured.err.splitlines()


def test_every_difference_is_a_line_also_in_json(make_run, capsys):
    other = changed(config={"terminate_on_success": False}, environment={"max_episode_steps": 100})
    arguments = [make_run("a", "+-+"), make_run("b", "+++", record=other, first_seed=1), "--json"]
    assert compare.main(arguments) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "not comparable"
    kinds = [line.split(":")[0] for line in found["differences"]]
    assert kinds == ["success ends the episode", "max episode steps", "seeds"]


@pytest.mark.parametrize(
    ("b", "line"),
    [
        (("++++", 0), "seeds: A has 3 episodes, seeds 0 to 2; B has 4 episodes, seeds 0 to 3; 3 in common"),
        (("+++", 2), "seeds: A has 3 episodes, seeds 0 to 2; B has 3 episodes, seeds 2 to 4; 1 in common"),
    ],
)
def test_other_seeds_are_refused(make_run, capsys, b, line):
    outcomes, first_seed = b
    assert compare.main([make_run("a", "+-+"), make_run("b", outcomes, first_seed=first_seed)]) == 3
    assert f"  {line}" in capsys.readouterr().err.splitlines()


def test_another_target_is_another_task(make_run, capsys):
    make_run("a", "+-+")
    make_run("b", "+++")
    results = read_results(Path("b") / EPISODES_FILE)
    write_results(Path("b") / EPISODES_FILE, [results[0], *(replace(result, target="blue") for result in results[1:])])
    assert compare.main(["a", "b"]) == 3
    assert "  target: A has red with seed 1, B has blue; 2 seeds differ" in capsys.readouterr().err.splitlines()


def test_incomplete_runs_are_refused(make_run, capsys):
    make_run("a", "+-+", planned=5)
    make_run("b", "+-+", record=replace(RECORD, summary=None))
    assert compare.main(["a", "b"]) == 3
    lines = capsys.readouterr().err.splitlines()
    assert "  complete: A (a) has 3 of 5 episodes; finish it first" in lines
    assert "  complete: B (b) has 3 of 3 episodes; finish it first" in lines
    (Path("a") / EPISODES_FILE).unlink()
    assert compare.main(["a", "b"]) == 3
    assert "complete: A (a) has 0 of 5 episodes" in capsys.readouterr().err


def test_a_torn_last_line_is_a_missing_episode(make_run, capsys):
    make_run("a", "+-+")
    make_run("b", "+-+")
    path = Path("b") / EPISODES_FILE
    path.write_bytes(path.read_bytes()[:-5])
    assert compare.main(["a", "b"]) == 3
    assert "B (b) has 2 of 3 episodes" in capsys.readouterr().err


FOREIGN_RECORDS = {
    "no json": "{",
    "no object": "null",
    "a list": "[]",
    "not text": b"\xff",
    "too deep": "[" * 100_000,
    "other json": '{"schema_version": 1}',
    "other types": json.dumps(RECORD.to_json() | {"config": None}),
    "other parts": json.dumps(RECORD.to_json() | {"sequential": {"decided": True, "episodes": "x"}}),
    "other settings": json.dumps(RECORD.to_json() | {"config": {"env": "pick-place", "intervene": "ghost"}}),
    "no policy": json.dumps(RECORD.to_json() | {"policies": []}),
}
FOREIGN_LINES = {
    "nonsense": "nonsense",
    "a number": "5",
    "too deep": "[" * 100_000,
    "no seed": json.dumps(episode(0, "0", "+").to_json()),
    "no status": json.dumps(episode(0, 0, "+").to_json() | {"status": "won"}),
}


@pytest.mark.parametrize("record", FOREIGN_RECORDS)
def test_a_record_that_nobody_here_wrote_is_one_line_and_exit_code_3(make_run, capsys, record):
    """Not a traceback: Python's exit code 1 would say that B is worse."""
    make_run("a", "+-+")
    make_run("b", "+-+")
    text = FOREIGN_RECORDS[record]
    (Path("b") / "run.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    for runs in (["a", "b"], ["b", "a"]):
        assert compare.main(runs) == 3
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")


@pytest.mark.parametrize("line", FOREIGN_LINES)
def test_an_episode_that_nobody_here_wrote_is_one_line_and_exit_code_3(make_run, capsys, line):
    make_run("a", "+")
    make_run("b", "+")
    (Path("b") / EPISODES_FILE).write_text(f"{FOREIGN_LINES[line]}\n")
    assert compare.main(["a", "b"]) == 3
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("error: b/episodes.jsonl, line 1, is no episode")


def test_an_episode_that_comes_twice_is_refused(make_run, capsys):
    path = Path(make_run("a", "++-")) / EPISODES_FILE
    make_run("b", "++-")
    first, second, _ = path.read_text().splitlines(keepends=True)
    path.write_text(first + first + second)
    assert compare.main(["a", "b"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "a/episodes.jsonl, line 2, repeats episode 0" in line


def test_no_episodes_are_no_run(make_run):
    assert compare.main([make_run("c", ""), make_run("d", "")]) == 3


def test_seeds_that_come_twice_cannot_be_paired(make_run, capsys):
    results = [episode(index, index // 2, "+") for index in range(4)]
    make_run("a", "++++", results=results)
    assert compare.main(["a", make_run("b", "++++")]) == 3
    assert "  seeds: A has repeated seeds, so episodes cannot be paired by seed" in capsys.readouterr().err


def test_what_a_record_says_stays_in_its_line(make_run, capsys):
    foreign = changed(policy={"model": "bc\nverdict              B is better than A\x1b[2J"})
    compare.main([make_run("a", "+-+"), make_run("b", "+-+", record=foreign)])
    out = capsys.readouterr().out
    assert len(re.findall("^verdict", out, re.MULTILINE)) == 1
    assert "\x1b" not in out


@pytest.mark.parametrize("broken", ["no folder", "no record", "no json", "other json", "no episode"])
def test_what_is_no_run_is_one_line_and_exit_code_3(make_run, capsys, broken):
    make_run("a", "+-+")
    if broken != "no folder":
        make_run("b", "+-+")
    if broken == "no record":
        (Path("b") / "run.json").unlink()
    if broken == "no json":
        (Path("b") / "run.json").write_text("{")
    if broken == "other json":
        (Path("b") / "run.json").write_text('{"schema_version": 1}')
    if broken == "no episode":
        (Path("b") / EPISODES_FILE).write_text("nonsense\n")
    assert compare.main(["a", "b"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "b" in line


@pytest.mark.parametrize("arguments", [["a"], ["a", "b", "--margin", "5"], ["a", "b", "--marjin", "5pp"]])
def test_wrong_usage_does_not_look_like_an_answer(make_run, arguments):
    make_run("a", "+-+")
    make_run("b", "+-+")
    assert compare.main(arguments) == 3


def test_other_machines_and_libraries_are_warned_of(make_run, capsys):
    record = changed(fingerprint={"machine": "arm64", "libraries": {"mujoco": "4.0.0", "torch": "2.12"}})
    compare.main([make_run("a", "++"), make_run("b", "++", record=record)])
    warnings = re.findall(r"^warning +(.*)$", capsys.readouterr().out, re.MULTILINE)
    assert warnings == [
        "fingerprint libraries.torch differs: A has 2.13, B has 2.12; this alone may change episodes",
        "fingerprint machine differs: A has x86_64, B has arm64; this alone may change episodes",
    ]


@pytest.mark.parametrize("repeats", ["no", "unknown"])
def test_what_pairing_is_worth_without_exact_repetition_is_said(make_run, capsys, repeats):
    make_run("a", "++")
    make_run("b", "++", record=changed(environment={"repeats": repeats}))
    compare.main(["a", "b"])
    (warning,) = re.findall(r"^warning +(.*)$", capsys.readouterr().out, re.MULTILINE)
    assert f"not known to repeat itself exactly (A: exact, B: {repeats})" in warning
    assert "pairing by seed" in warning


@pytest.mark.parametrize(("renderer", "warned"), [(None, 0), ("NVIDIA", 1)])
def test_a_policy_without_eyes_has_no_renderer_to_differ(make_run, capsys, renderer, warned):
    compare.main([make_run("a", "++"), make_run("b", "++", record=changed(fingerprint={"gl_renderer": renderer}))])
    assert capsys.readouterr().out.count("warning") == warned


def test_options_tell_two_versions_of_one_policy_apart(make_run, capsys):
    compare.main([make_run("a", "++"), make_run("b", "++", record=changed(config={"policy_option": ["gain=0.5"]}))])
    assert capsys.readouterr().out.splitlines()[:2] == [
        "A                    a: bc, identity 5bce5bce5bce",
        "B                    b: bc gain=0.5, identity 5bce5bce5bce",
    ]


def test_interventions_are_told_with_their_meanings_and_replayed(make_run, capsys):
    intervened = changed(config={"intervene": ["vision=black"]}, interventions={"vision=black": "all images are black"})
    compare.main([make_run("a", "++"), make_run("b", "+-", record=intervened)])
    out = capsys.readouterr().out
    assert "intervention on B    all images are black" in out
    (command,) = re.findall(r"^replay B +(.*)$", out, re.MULTILINE)
    assert command.endswith("--intervene vision=black --seeds 1")


def test_an_intervention_on_the_target_makes_other_targets_comparable(make_run):
    other = [replace(episode(index, index, "+"), target="blue") for index in range(3)]
    make_run("b", "+++", results=other, record=changed(config={"intervene": ["target=blue"]}))
    assert compare.main([make_run("a", "+++"), "b"]) == 2


def test_replay_commands_name_the_discordant_episodes(make_run, capsys):
    record = changed(config={"terminate_on_success": False}, policy={"model": "vla", "checkpoint": None})
    a = make_run("a", "++-+-", record=changed(config={"terminate_on_success": False}), first_seed=7)
    compare.main([a, make_run("b", "+---+", record=record, first_seed=7)])
    out = capsys.readouterr().out
    shown = re.findall(r"^(only [AB]) +seed (\d+): A (.*) after 30 steps, B (.*) after 30 steps$", out, re.MULTILINE)
    assert shown == [
        ("only A", "8", "success", "dropped"),
        ("only A", "10", "success", "dropped"),
        ("only B", "11", "dropped", "success"),
    ]
    commands = dict(re.findall(r"^replay ([AB]) +(.*)$", out, re.MULTILINE))
    assert commands == {
        "A": "python -m eval.rollout --model bc --checkpoint 'my checkpoints/bc' --env pick-place "
        "--no-terminate-on-success --seeds 8 10 11",
        "B": "python -m eval.rollout --model vla --env pick-place --no-terminate-on-success --seeds 8 10 11",
    }
    assert "success              at the end of the episode" in out


def test_a_long_list_is_cut_in_text_and_whole_in_json(make_run, capsys):
    arguments = [make_run("a", "+" * 30), make_run("b", "-" * 30)]
    compare.main(arguments)
    out = capsys.readouterr().out
    assert out.count("seed ") == 20
    assert "10 more; --json lists all" in out
    compare.main([*arguments, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert len(found["discordant"]) == 30
    assert found["replay"]["b"].endswith(" 28 29")


def test_json_holds_the_figures(make_run, capsys):
    a, b = cells(33, 2, 12, 3)
    compare.main([make_run("a", a), make_run("b", b), "--json", "--quiet", "--margin", "5pp"])
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "better"
    assert found["pairs"] == {"both": 33, "only_a": 2, "only_b": 12, "neither": 3}
    assert found["difference"] == pytest.approx(0.2)
    assert found["newcombe_95"] == pytest.approx([0.0545, 0.3409], abs=6e-5)
    assert found["p_value"] == pytest.approx(0.01294, abs=5e-6)
    assert found["b"]["success_rate"] == 0.9
    assert found["b"]["wilson_95"] == pytest.approx([0.786, 0.957], abs=6e-4)
    assert found["margin"] == 0.05
    assert found["smallest_difference"] == pytest.approx(0.211, abs=1e-3)


@pytest.mark.parametrize(
    ("counts", "options", "code", "verdict"),
    [
        ((10, 0, 8, 2), [], 0, "B is better than A"),
        ((10, 8, 0, 2), [], 1, "B is worse than A"),
        ((33, 2, 12, 3), [], 2, "cannot tell"),  # exact McNemar says p = 0.013, for one look
        ((33, 2, 12, 3), ["--margin", "5pp"], 0, "B is within the margin: no more than 5.0 pp worse than A"),
        ((93, 1, 1, 5), ["--margin", "5pp"], 2, "cannot tell; B may be 6.7 pp worse than A, the margin is 5.0 pp"),
    ],
)
@pytest.mark.parametrize("which", ["a", "b", "both"])
def test_of_a_run_that_stopped_only_what_holds_at_every_look_is_said(
    make_run, capsys, which, counts, options, code, verdict
):
    """A whole run and one that stopped at its end: the same pairs, other statistics, whichever of them stopped."""
    a, b = cells(*counts)
    record = replace(RECORD, sequential=stopped(len(a)))
    make_run("a", a, record=record if which != "b" else RECORD, planned=100 if which != "b" else None)
    make_run("b", b, record=record if which != "a" else RECORD, planned=100 if which != "a" else None)
    assert compare.main(["a", "b", *options]) == code
    out = capsys.readouterr().out
    (said,) = re.findall(r"^verdict +(.*)$", out, re.MULTILINE)
    assert said.startswith(verdict)
    for word in ("Wilson", "Newcombe", "McNemar", "smallest difference", "about"):
        assert word not in out
    (evidence,) = re.findall(r"^1/e +([0-9.e-]+), 0.05 or less decides \(anytime-valid", out, re.MULTILINE)
    counts = PairedCounts(*counts)
    assert float(evidence) == pytest.approx(exp(-log_e_value(counts.only_a, counts.only_b)), rel=0.06)
    low, high = re.search(r"95 % interval \[(.*), (.*)\] \(paired, valid under stopping\)", out).groups()
    assert [float(low), float(high)] == pytest.approx([100 * end for end in difference_sequence(counts)[:2]], abs=0.051)


def test_runs_of_which_one_stopped_are_compared_on_the_first_episodes_of_both(make_run, capsys):
    make_run("a", "++++" + "-" * 10)
    make_run("b", "----E", record=replace(RECORD, sequential=stopped(5)), planned=100)
    compare.main(["a", "b", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["episodes"] == 5
    assert found["pairs"] == {"both": 0, "only_a": 4, "only_b": 0, "neither": 1}
    assert (found["a"]["success_rate"], found["b"]["success_rate"], found["b"]["errors"]) == (0.8, 0.0, 1)
    assert found["a"]["confidence_sequence_95"] == pytest.approx(list(confidence_sequence(4, 5)[:2]))
    make_run("longer", "-" * 30, record=replace(RECORD, sequential=stopped(30, decided=False)), planned=30)
    compare.main(["a", "longer"])
    out = capsys.readouterr().out
    assert "B was still undecided after 30 of at most 100 episodes" in out
    assert "the first 14 episodes, which both have" in out


def test_runs_of_which_one_stopped_must_begin_alike(make_run, capsys):
    """The episodes that both have would otherwise be chosen by what was seen."""
    make_run("a", "+-+-+")
    make_run("b", "+++", record=replace(RECORD, sequential=stopped(3)), planned=100, first_seed=1)
    assert compare.main(["a", "b"]) == 3
    line = "seeds: A has 5 episodes, seeds 0 to 4; B has 3 episodes, seeds 1 to 3; one plan must begin with the other"
    assert f"  {line}" in capsys.readouterr().err.splitlines()


def test_a_run_that_may_stop_and_has_not_is_not_complete(make_run, capsys):
    make_run("a", "+-+-+")
    make_run("b", "+++", record=replace(RECORD, sequential=stopped(3, decided=False)), planned=100)
    make_run("c", "++++", record=replace(RECORD, sequential=stopped(3)), planned=100)
    assert compare.main(["a", "b"]) == 3
    assert "complete: B (b) has 3 of 100 episodes; finish it first" in capsys.readouterr().err
    assert compare.main(["a", "c"]) == 3
    assert "complete: B (c) has 4 of 3 episodes; finish it first" in capsys.readouterr().err


def test_a_bug_does_not_look_like_an_answer(make_run, monkeypatch, capsys):
    """Python's exit code 1 for a traceback would say that B is worse."""

    def broken(*arguments):
        raise RuntimeError("a bug")

    monkeypatch.setattr(compare, "compare", broken)
    assert compare.main([make_run("a", "+"), make_run("b", "+")]) == 70
    assert "RuntimeError: a bug" in capsys.readouterr().err
