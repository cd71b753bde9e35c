"""`eval.report` as users meet it: what it says, what it leaves out, what it refuses."""

import json
import os
import re
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import point_world
import pytest
from run_folders import RECORD, episode, stopped

from envs.registration import find_environment, register_environment
from envs.slots import Start
from eval import __main__, compare
from eval.report import __main__ as report
from eval.report.findings import build_report
from eval.runs.log_file import EPISODES_FILE, read_results, write_results
from eval.runs.media_paths import VIDEOS_FOLDER, video_path
from eval.runs.provenance import Source
from eval.runs.record import Timing
from eval.runs.schema.seeds import SeedOverlap, SeedRange
from eval.runs.schema.stopping import Findings, Reference
from eval.runs.summary import summarise
from eval.runs.versions import RECORD_FILE
from eval.statistics.multiplicity import holm
from eval.statistics.percentage import points_text
from simscaleai.contract import Feature, Layout

PICK_PLACE = "SimScale/PickPlace-v0"
HOSTILE = (
    "</td></script><script>document.title='owned'</script><img src=x onerror=\"alert(1)\">"
    "'\"`|[x](http://x) {{ 7*7 }} \ud800 &amp;\n```\n<script>"
)


class Page(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.words = [], []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def attributes(self, tag, name):
        return [attributes[name] for found, attributes in self.elements if found == tag and name in attributes]


def page(*folders):
    assert report.main([*map(str, folders), "--output", "page.html"]) == 0
    return Page(Path("page.html"))


def printed(capsys, *folders, form="json"):
    capsys.readouterr()
    assert report.main([*map(str, folders), "--format", form]) == 0
    text = capsys.readouterr().out
    return json.loads(text) if form == "json" else text


def outcomes(seed, n=50, rate=0.7):
    return "".join("+" if value < rate else "-" for value in np.random.default_rng(seed).random(n))


def files(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize(("n", "rate"), [(50, 0.8), (7, 0.5), (30, 1.0), (30, 0.0), (1, 1.0)])
def test_figures_are_those_of_the_summary(make_run, capsys, n, rate):
    folder = make_run("a", outcomes(n, n, rate))
    summary = summarise(read_results(folder / EPISODES_FILE), n)
    assert printed(capsys, folder)["runs"][0]["summary"] == summary.to_json()
    low, high = map(points_text, summary.wilson_95)
    rate = points_text(summary.success_rate)
    text = page(folder).text
    assert f"{rate} % {summary.successes} of {n} episodes succeeded" in text
    assert f"95 % interval [{low}, {high}] % (Wilson)" in text
    assert f"At least {points_text(summary.at_least_95)} %" in text
    assert f"| **{rate} %** ({summary.successes}/{n}) | [{low}, {high}] % | Wilson |" in printed(
        capsys, folder, form="md"
    )


def test_comparison_is_that_of_eval_compare(make_run, capsys):
    a, b = make_run("a", "+" * 33 + "-" * 12 + "+" * 2 + "-" * 3), make_run("b", "+" * 45 + "-" * 5)
    compare.main([str(a), str(b), "--json"])
    expected = json.loads(capsys.readouterr().out)
    (found,) = printed(capsys, a, b)["comparisons"]
    assert (found["a"].pop("name"), found["b"].pop("name")) == ("a", "b")
    assert found.pop("holm_p") is None
    assert found.pop("verdict_among_all") == "B is better than A"
    assert found == expected
    text = page(a, b).text
    assert "B is better than A" in text
    assert "B − A is +20.0 pp, 95 % interval [+5.4, +34.1] (Newcombe, paired)" in text
    assert "p = 0.013 (exact McNemar, two-sided, 14 discordant pairs)" in text
    assert "| 50 | 33 | 2 | 12 | 3 | +20.0 pp | [+5.4, +34.1] | 0.013 | B is better than A |" in printed(
        capsys, a, b, form="md"
    )


def test_several_comparisons_are_one_family(make_run, capsys):
    """Each run is compared with the first of its environment, and Holm weighs all of them together."""
    reach = {"environment": {"env_id": "Other/Reach-v0", "digest": "1"}}
    a, b, c = make_run("a", "-" * 8 + "+" * 42), make_run("b", "+" * 48 + "-" * 2), make_run("c", "-" * 50)
    d, e = make_run("d", "-" * 50, **reach), make_run("e", "+" * 50, **reach)
    found = printed(capsys, a, d, b, e, c)["comparisons"]
    assert [(item["a"]["name"], item["b"]["name"]) for item in found] == [("a", "b"), ("a", "c"), ("d", "e")]
    alone = []
    for first, second in (("a", "b"), ("a", "c"), ("d", "e")):
        compare.main([first, second, "--json"])
        alone.append(json.loads(capsys.readouterr().out)["p_value"])
    assert [item["p_value"] for item in found] == alone
    assert [item["holm_p"] for item in found] == holm(alone)
    text = page(a, d, b, e, c).text
    assert "are not pooled" in text
    assert "p (Holm)" in text


def test_what_is_only_significant_alone_is_not_decided_among_several(make_run, capsys):
    folders = [make_run("a", "+" * 44 + "-" * 6), *(make_run(name, "+" * 50) for name in "bcd")]
    found = printed(capsys, *folders)["comparisons"]
    assert all(item["verdict"] == "better" for item in found)
    assert all(item["holm_p"] > 0.05 for item in found)
    assert all(item["verdict_among_all"].startswith("cannot tell") for item in found)
    assert "B is better than A" not in page(*folders).text


def test_runs_that_cannot_be_compared_say_why(make_run, capsys):
    a, b = make_run("a", "+-+"), make_run("b", "+-+", first_seed=7)
    (pair,) = printed(capsys, a, b)["not_comparable"]
    assert pair["differences"] == ["seeds: A has 3 episodes, seeds 0 to 2; B has 3 episodes, seeds 7 to 9; 0 in common"]
    assert "b cannot be compared with a" in page(a, b).text


def test_videos_of_what_only_one_solved_stand_side_by_side(make_run):
    a, b = make_run("a", "++-+", videos=4), make_run("b", "+-+-", videos=3)
    found = page(a, b)
    pairs = [attributes["aria-label"] for tag, attributes in found.elements if attributes.get("class") == "pair"]
    assert pairs == ["seed 1", "seed 2"]  # seed 3 was filmed by one only
    labels = found.attributes("video", "aria-label")
    assert labels[:4] == ["A · a, seed 1", "B · b, seed 1", "A · a, seed 2", "B · b, seed 2"]
    assert sorted(labels[4:]) == ["seed 0, seed 0", "seed 0, seed 0", "seed 3, seed 3"]


def test_a_run_without_videos(make_run):
    found = page(make_run("a", "++-"), make_run("b", "+++"))
    assert found.attributes("video", "src") == []
    assert "No episode that only one of them solved has a video of both" in found.text
    assert "Videos" not in found.text


def test_failures_come_first_among_videos(make_run):
    folder = make_run("a", "++-+-", videos=5)
    labels = page(folder).attributes("video", "aria-label")
    assert [label.rpartition(" ")[2] for label in labels] == ["2", "4", "0", "1", "3"]


def test_page_stays_below_ten_megabytes(make_run):
    folder = make_run("a", "+-" * 25)
    for index in range(10):
        content = b"\0\0\0\x18ftypmp42" + np.random.default_rng(index).bytes(860_000)
        video_path(folder / VIDEOS_FOLDER, index).write_bytes(content)
    found = page(folder)
    assert len(found.attributes("video", "src")) == 8
    assert Path("page.html").stat().st_size <= 10_000_000
    assert "2 more videos were left out to keep the page small" in found.text


def test_what_is_no_video_is_left_out(make_run):
    folder = make_run("a", "+-", videos=1)
    video_path(folder / VIDEOS_FOLDER, 1).write_bytes(b"")
    assert len(page(folder).attributes("video", "src")) == 1


def test_page_needs_nothing_but_itself(make_run):
    found = page(make_run("a", "+-", videos=1), make_run("b", "++", videos=2))
    for tag, attributes in found.elements:
        for name in ("src", "href"):
            assert re.match(r"data:|#", attributes.get(name, "#")), (tag, attributes)
    assert len(found.attributes("img", "src")) == 8
    assert not re.search(r"url\(|@import|https?:", Path("page.html").read_text())


def hostile(make_run, name, text):
    features = [{"name": text, "unit": text, "frame": text, "values": [text, None, 1]}]
    given = {"episode_index": 0, "seed": 0, "instruction": text, "digest": text, "images": {text: text}}
    folder = make_run(
        name,
        "+-E",
        videos=2,
        config={"model": text, "checkpoint": text, "env": text, "note": text, "intervene": [text]},
        environment={"env_id": text, "digest": text, "success": text},
        policy={"model": text, "checkpoint": text, "identity": text, "options": {text: text}},
        fingerprint={text: text},
        interventions={text: text},
        source=Source(commit=text, dirty=False),
        timing=Timing(started=text),
        receipts=[{**given, "vectors": {text: features}, "actions": [[text, 1.0]]}],
    )
    results = read_results(folder / EPISODES_FILE)
    foreign = [
        replace(result, instruction=text, failure=result.failure and text, stage=text, digest=text)
        for result in results
    ]
    write_results(folder / EPISODES_FILE, foreign)
    return folder


def test_whatever_comes_from_a_run_is_text(make_run):
    """A page from hostile names has the very elements and attributes that one from harmless names has."""

    def structure(text):
        name = f"runs of {len(text)}/a"
        found = page(hostile(make_run, name, text), hostile(make_run, f"{name}<b>", text))
        return [(tag, sorted(attributes)) for tag, attributes in found.elements], found

    harmless, _ = structure("harmless")
    attacked, found = structure(HOSTILE)
    assert attacked == harmless
    assert "{{ 7*7 }}" in found.text
    assert "document.title='owned'" in found.text
    assert found.attributes("meta", "content")[2].startswith("default-src 'none'")


def test_markdown_of_a_hostile_run_is_text(make_run, capsys):
    text = printed(capsys, hostile(make_run, "a", HOSTILE), hostile(make_run, "b|<i>", HOSTILE), form="md")
    prose = re.sub(r"^(`{3,})$.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert not re.search(r"<(script|img|i|/)", prose)
    widths = {line.count("|") - line.count("\\|") for line in prose.splitlines() if line.startswith("| ")}
    assert widths <= {8, 13, 3}
    assert "python -m eval.rollout" not in prose


DAMAGE = {
    "no record": lambda folder: (folder / RECORD_FILE).unlink(),
    "binary record": lambda folder: (folder / RECORD_FILE).write_bytes(b"\xff\xfe\0"),
    "other version": lambda folder: edit(folder, schema_version=99),
    "no model": lambda folder: edit(folder, policies=[{}]),
    "text for an environment": lambda folder: edit(folder, environment="x"),
    "overlap of none": lambda folder: edit(folder, seed_overlap={"seeds": [], "trained_on": {}, "is_certain": True}),
    "broken line": lambda folder: (folder / EPISODES_FILE).write_text("{\n"),
    "text for steps": lambda folder: edit_episode(folder, steps="many"),
    "huge steps": lambda folder: edit_episode(folder, steps=10**400),
    "huge return": lambda folder: edit_episode(folder, **{"return": 10**400}),
    "huge seconds": lambda folder: edit(folder, timing={"seconds": 10**400}),
    "a pipe for a record": lambda folder: make_pipe(folder / RECORD_FILE),
    "a pipe for episodes": lambda folder: make_pipe(folder / EPISODES_FILE),
    "a pipe for receipts": lambda folder: make_pipe(folder / "receipts.json"),
    "broken receipts": lambda folder: (folder / "receipts.json").write_text("{"),
    "empty receipt": lambda folder: (folder / "receipts.json").write_text('{"schema_version": 2, "receipts": [{}]}'),
}


def make_pipe(path):
    """Puts a pipe in place of a file; nobody writes to it, so reading it would never end."""
    path.unlink()
    os.mkfifo(path)


def edit(folder, **changes):
    path = folder / RECORD_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_episode(folder, **changes):
    path = folder / EPISODES_FILE
    first, *others = path.read_text().splitlines(keepends=True)
    path.write_text("".join([json.dumps({**json.loads(first), **changes}) + "\n", *others]))


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_one_line_and_nothing_is_touched(make_run, capsys, damage):
    good, bad = make_run("good", "+-"), make_run("bad", "+-")
    (good / "report.html").write_text("the report of yesterday")
    DAMAGE[damage](bad)
    before = files(".")
    assert report.main([str(good), str(bad)]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"error: .*\n", error), error
    assert "bad" in error
    assert files(".") == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected at least one run folder, got none"),
        (["nowhere"], "nowhere"),
        (["a", "a"], "more than once"),
        (["a", "./b/../a"], "more than once"),
        (["a", "--output", "a/run.json"], "would replace a file of a run"),
        (["a", "--output", "a/episodes.jsonl", "--format", "json"], "would replace a file of a run"),
        (["a", "--output", "a/receipts.json"], "would replace a file of a run"),
        (["a", "--output", "a"], "--output to end with"),
        (["a", "--output", "a", "--format", "md"], "a folder"),
        (["a", "--output", "report.pdf"], "--output to end with .html, .md or .json"),
        (["a", "--output", "missing/report.html"], "cannot write missing/report.html"),
    ],
)
def test_mistakes_are_one_line(make_run, capsys, arguments, words):
    make_run("a", "+-")
    make_run("b", "+-")
    before = files(".")
    assert report.main(arguments) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"error: .*\n", error)
    assert words in error
    assert files(".") == before


def test_a_report_that_cannot_be_written_leaves_the_old_one(make_run, capsys, monkeypatch):
    folder = make_run("a", "+-")
    (folder / "report.html").write_text("the report of yesterday")
    before = files(".")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert report.main([str(folder)]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert files(".") == before


def test_output_and_format(make_run, capsys):
    folder = make_run("a", "+-")
    assert __main__.main(["report", str(folder)]) == 0
    assert capsys.readouterr().out.startswith("a/report.html  ")
    assert Page(folder / "report.html").text
    report.main([str(folder), "--output", "a.md"])
    assert Path("a.md").read_text().startswith("# bc in PickPlace\n")
    report.main([str(folder), "--output", "a.json"])
    assert json.loads(Path("a.json").read_text())["runs"][0]["folder"] == "a"


def test_incomplete_run_says_so(make_run, capsys):
    folder = make_run("a", "++-", planned=50)
    assert "Incomplete. 3 of 50 planned episodes have ended." in page(folder).text
    assert "**Incomplete.** 3 of 50" in printed(capsys, folder, form="md")
    assert printed(capsys, folder)["runs"][0]["complete"] is False
    unsummed = make_run("b", "++-", summary=None)
    assert "Incomplete. All episodes have ended, but the run was killed" in page(unsummed).text
    text = page(folder, unsummed).text
    assert "b cannot be compared with a" in text
    assert "has 3 of 50 episodes; finish it first" in text


def test_run_of_which_nothing_has_ended(make_run, capsys):
    folder = make_run("a", "", planned=50)
    assert "no episode has ended" in page(folder).text
    assert "| — |" in printed(capsys, folder, form="md")
    page(folder, make_run("b", "++-"))


SEQUENTIAL = stopped(20, limit=90, threshold=0.6)


def test_sequential_run_has_figures_that_hold_at_every_look(make_run, capsys):
    folder = make_run("a", "+" * 15 + "-" * 5, planned=90, sequential=SEQUENTIAL)
    (run,) = printed(capsys, folder)["runs"]
    assert run["summary"] == summarise(read_results(folder / EPISODES_FILE), 20, sequential=True).to_json()
    assert run["summary"]["wilson_95"] is None
    text = page(folder).text
    assert "confidence sequence, valid under stopping" in text
    assert "Sequential run. Interval" in text
    assert "the run ended after 20 of at most 90 episodes; 70 saved" in text
    assert "Clopper" not in text
    assert "Incomplete" not in text
    other = make_run("b", "-" * 20)
    (comparison,) = printed(capsys, other, folder)["comparisons"]
    assert comparison["p_value"] is None
    assert f"1/e = {comparison['inverse_e_value']:.2g}" in page(other, folder).text


def test_sequential_run_until_decided_says_what_was_found(make_run):
    found = Findings(
        verdict="better",
        pairs={"both": 0, "only_a": 0, "only_b": 10, "neither": 10},
        difference=0.5,
        difference_sequence_95=(0.2, 0.8),
        inverse_e_value=0.001,
    )
    versus = Reference(folder="runs/x", episodes_sha256="0")
    rule = stopped(20, rule="until_decided", threshold=0.05, vs=versus, findings=found)
    folder = make_run("a", "+" * 20, sequential=rule)
    text = page(folder).text
    assert "against runs/x (A)" in text
    assert "+50.0 pp, 95 % interval [+20.0, +80.0]; 1/e = 0.001, valid under stopping: better." in text


def test_killed_sequential_run_counts_only_the_beginning_of_its_plan(make_run, capsys):
    """What ended early after a gap is mostly successes."""
    folder = make_run("a", "-" * 20, planned=90, sequential=stopped(0, limit=90, decided=False))
    results = read_results(folder / EPISODES_FILE)
    write_results(folder / EPISODES_FILE, [result for result in results if result.episode_index != 12])
    assert printed(capsys, folder)["runs"][0]["summary"]["episodes"] == 12


def test_what_is_to_be_known_before_a_figure_is_used(make_run):
    overlap = SeedOverlap(seeds=(0, 1), trained_on=SeedRange(first=0, last=9, count=10), is_certain=True)
    config, meanings = {"intervene": ["vision=black"]}, {"vision=black": "vision=black (all images are black)"}
    found = page(make_run("a", "+++E", config=config, interventions=meanings, seed_overlap=overlap)).text
    assert (
        "2 of 4 episodes, seeds 0 to 1, are in the range of seeds that the checkpoint was trained on, 0 to 9" in found
    )
    assert "vision=black (all images are black)" in found
    assert "1 of 4 episodes could not be run; they count as not successful" in found
    assert "the success rate would be in [75.0, 100.0] %" in found


def test_a_policy_that_gets_simulator_truth_is_told(make_run):
    assert "Simulator truth" not in page(make_run("a", "+-")).text
    found = page(make_run("b", "+-", policy={"needs": RECORD.environment.needs("environment_state")}))
    assert "The policy gets environment_state, which a robot does not measure." in found.text


def test_a_perturbation_is_told(make_run):
    found = page(make_run("a", "+-", perturbations={"wind=2": "wind 0.02 m"}))
    assert "Every episode is perturbed: wind 0.02 m." in found.text


@pytest.mark.parametrize(("repeats", "told"), [("exact", False), ("no", True), ("unknown", True)])
def test_an_environment_that_does_not_repeat_itself_is_told(make_run, repeats, told):
    text = page(make_run("a", "+-", environment={"repeats": repeats})).text
    assert ("not known to repeat itself exactly" in text) == told


def test_receipts_and_provenance_are_shown(make_run, record):
    text = page(make_run("a", "++-")).text
    for words in ("ee position m world 0.100 0.250 —", "0.500 -0.500 0.000 1.000", "cd" * 32, "with changes"):
        assert words in text
    assert " ".join(name.replace("_", " ") for name in record.environment.action.names) in text
    for words in (record.policy.identity, record.source.commit, '"mujoco": "4.0.0"', record.environment.digest):
        assert words in text


def test_starting_places_are_those_of_the_environment(make_run, capsys):
    folder = make_run("a", "+-" * 30, first_seed=3_000_000_000)
    registration = find_environment(PICK_PLACE)
    spec = registration.offer()
    env = registration.make(1, spec.needs("environment_state"), True, None)
    episodes = printed(capsys, folder)["runs"][0]["episodes"]
    for index in (0, 1, 49, 50, 59):
        env.reset(np.array([0]), [Start(3_000_000_000 + index, {"target": "red"})])
        truth = env.observe(np.array([0]), np.array([False]))["environment_state"][0]
        for feature in ("cube_position", "goal_position"):
            expected = spec.vectors["environment_state"].get(truth, feature)
            np.testing.assert_array_equal(episodes[index][feature], expected[:2].astype(float))
    env.close()
    titles = [words for words in page(folder).words if words.startswith("seed 3000000000:")]
    assert titles == ["seed 3000000000: success"] * 2


def test_the_scene_is_seen_from_above_with_x_up_and_y_to_the_left(make_run, capsys):
    """The robot looks along x, and y is to its left."""
    folder = make_run("a", "+")
    (x, y) = printed(capsys, folder)["runs"][0]["episodes"][0]["cube_position"]
    first, _ = page(folder).attributes("g", "transform")
    assert first == f"translate({-1000 * y:.1f} {-1000 * x:.1f})"


def test_options_tell_versions_of_a_policy_and_tasks_of_one_function_apart(make_run):
    tasks = [f"my_worlds/dock.py:Dock?success=info:docked&max_episode_steps=20&width={width}" for width in (0.2, 0.05)]
    changes = {"config": {"policy_option": ["gain=0.5"]}, "environment": {"env_id": ",".join(tasks)}}
    text = page(make_run("a", "+-", **changes)).text
    assert "in dock.py:Dock width=0.2, dock.py:Dock width=0.05" in text
    assert "bc gain=0.5" in text


@pytest.mark.parametrize("environment", [{"digest": "another"}, {"env_id": "Other/Task-v0"}])
def test_starting_places_of_another_environment_are_not_guessed(make_run, environment):
    assert "Where it succeeds" not in page(make_run("a", "+-", environment=environment)).text


def test_targets_that_the_environment_does_not_have_show_no_places(make_run):
    results = [replace(episode(0, 0, "+"), target="pyramid")]
    assert "Where it succeeds" not in page(make_run("a", "+", results=results)).text


def test_any_environment_shows_the_positions_that_its_privileged_vectors_hold(make_run, capsys, point_environment):
    spec = vars(point_world.SPEC)
    results = [replace(episode(index, index, "+-"[index]), target=None, stage="") for index in range(2)]
    folder = make_run("a", "+-", results=results, environment=spec, receipts=[])
    (run,) = printed(capsys, folder)["runs"]
    assert [found["goal_position"] for found in run["episodes"]] == [[0.0, 0.0]] * 2
    assert "goal position at the start" in page(folder).text


def test_runs_are_told_apart_by_as_little_of_their_paths_as_it_takes(make_run):
    folders = [make_run(name, "+-") for name in ("x/vla", "y/vla", "bc")]
    assert [run.name for run in build_report(folders).runs] == ["x/vla", "y/vla", f"{Path.cwd().name}/bc"]
    assert [run.name for run in build_report(folders[1:]).runs] == ["vla", "bc"]


def point_run(make_run):
    results = [replace(episode(index, index, "+-"[index]), target=None, stage="") for index in range(2)]
    return make_run("a", "+-", results=results, environment=vars(point_world.SPEC), receipts=[])


@pytest.mark.parametrize("error", [RuntimeError("it \x1b[2J broke"), SystemExit(0), KeyError("goal"), MemoryError()])
@pytest.mark.parametrize("method", ["make", "reset", "observe", "close"])
def test_whatever_an_environment_raises_the_report_is_written_without_a_map(
    make_run, monkeypatch, point_environment, method, error
):
    def broken(*_):
        raise error

    if method == "make":
        register_environment(replace(point_environment, make=broken))
    else:
        monkeypatch.setattr(point_world.PointEnv, method, broken)
    assert "at the start" not in page(point_run(make_run)).text


@pytest.mark.parametrize(
    ("frame", "caption"),
    [
        ("world", "The scene from above, x up and y to the left; one mark"),
        ("base", "The first coordinate is up, the second to the left; one mark"),
    ],
)
def test_a_map_names_the_axes_of_the_frame_that_it_is_in(make_run, point_environment, monkeypatch, frame, caption):
    goal = Layout((Feature("goal_position", 2, "m", frame),), privileged=True)
    spec = replace(point_world.SPEC, vectors={**point_world.SPEC.vectors, "goal": goal})
    register_environment(replace(point_environment, offer=lambda: spec, make=partial(point_world.PointEnv, spec=spec)))
    monkeypatch.setattr(point_world, "SPEC", spec)
    assert caption in page(point_run(make_run)).text


def test_positions_that_are_not_finite_show_no_map(make_run, point_environment, monkeypatch):
    observe = point_world.PointEnv.observe
    monkeypatch.setattr(
        point_world.PointEnv, "observe", lambda *args: {key: rows * np.nan for key, rows in observe(*args).items()}
    )
    assert "at the start" not in page(point_run(make_run)).text


def test_long_texts_do_not_make_a_page_as_long_as_their_product_with_the_episodes(make_run):
    long = "m" * 10_000
    page(make_run("short", "-" * 300))
    short = Path("page.html").stat().st_size
    page(make_run("long", "-" * 300, policy={"model": long}))
    assert Path("page.html").stat().st_size < short + 50 * len(long)


def test_huge_numbers_in_receipts_are_shown_as_none(make_run):
    given = {"episode_index": 0, "seed": 0, "instruction": "", "digest": "", "images": {}}
    features = [{"name": "x", "unit": "m", "frame": "world", "values": [10**400, 1]}]
    folder = make_run("a", "+", receipts=[{**given, "vectors": {"state": features}, "actions": [[10**400, 1.0]]}])
    assert "x m world — 1.000" in page(folder).text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to_is_told_before_the_report_is_made(make_run, capsys):
    folder = make_run("a", "+")
    Path("closed").mkdir(mode=0o500)
    assert report.main([str(folder), "--output", "closed/a.html"]) == 2
    assert "cannot write closed/a.html" in capsys.readouterr().err


def test_a_printed_report_sends_no_commands_to_the_terminal(make_run, capsys):
    folder = make_run("a", "+-", policy={"model": "\x1b[2J\x9b"})
    for form in ("md", "json"):
        assert report.main([str(folder), "--format", form]) == 0
        text = capsys.readouterr().out
        assert all(character.isprintable() or character == "\n" for character in text)
