"""Runs under interventions: what record, receipts and comparison say of them, and that the shape changes nothing."""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from envs.registration import environment_names
from envs.tabletop.tasks.pick_place_language import PickPlaceLanguage
from eval import compare, rollout
from eval.episodes.plan import plan_episodes
from eval.probing.interventions import parse_interventions
from eval.runs.log_file import EPISODES_FILE, read_results, write_results
from eval.runs.receipts import read_receipts
from eval.runs.record import RunRecord

LANGUAGE = environment_names()["pick-place-language"]
SEED = 3_000_000_700


def planned(plan, *texts):
    return parse_interventions(texts).planned(plan, LANGUAGE)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a model on three language episodes under interventions; returns the folder."""
    monkeypatch.chdir(tmp_path)

    def run_model(model, name, *interventions, flags=(), code=0):
        shape = ["--env", "pick-place-language", "--episodes", "3", "--seed", str(SEED), "--output", name]
        asked = ["--intervene", *interventions] if interventions else []
        assert rollout.main(["--model", str(model), *shape, *asked, *flags]) == code
        return Path(name)

    return run_model


@pytest.mark.slow
@pytest.mark.parametrize(
    "texts",
    [
        ("vision=other-seed", "language=empty"),
        ("vision=frozen", "language=shuffled", "target=blue"),
        ("vision=black", "language=held-out", "state=zero"),
    ],
)
def test_an_episode_is_a_function_of_policy_environment_seed_and_interventions(run, make_checkpoint, texts):
    model = make_checkpoint("vla-mlp", env_id=LANGUAGE)
    few = ["--episodes", "2", "--policy-option", "n_action_steps=4"]
    together = run(model, "together", *texts, flags=[*few, "--num-envs", "2"])
    workers = run(model, "workers", *texts, flags=[*few, "--num-envs", "1", "--workers", "2"])
    assert (workers / EPISODES_FILE).read_bytes() == (together / EPISODES_FILE).read_bytes()
    assert read_receipts(workers) == read_receipts(together)
    results = read_results(together / EPISODES_FILE)
    specs = planned(plan_episodes(2, SEED), *texts)
    assert [result.instruction for result in results] == [spec.options["instruction"] for spec in specs]


@pytest.mark.slow
@pytest.mark.parametrize("text", ["vision=other-seed", "vision=frozen", "vision=black", "language=empty", "state=zero"])
def test_every_shape_gives_the_same_bytes_and_others_than_without_intervention(run, make_checkpoint, text):
    model = make_checkpoint("vla-mlp", env_id=LANGUAGE)
    plain = read_results(run(model, "plain") / EPISODES_FILE)
    shapes = [(1, 1), (1, 3), (2, 3)]
    runs = [run(model, f"{w}-{n}", text, flags=["--workers", str(w), "--num-envs", str(n)]) for w, n in shapes]
    assert len({(folder / EPISODES_FILE).read_bytes() for folder in runs}) == 1
    results = read_results(runs[0] / EPISODES_FILE)
    assert not {result.digest for result in results} & {result.digest for result in plain}


def test_record_and_receipt_tell_what_reached_the_policy(run, make_checkpoint, capsys):
    texts = ("vision=black", "language=shuffled")
    folder = run(make_checkpoint("vla-mlp", env_id=LANGUAGE), "run", *texts)
    record = RunRecord.read(folder)
    assert record.config["intervene"] == list(texts)
    first = read_receipts(folder)[0]
    assert first.instruction == read_results(folder / EPISODES_FILE)[0].instruction
    assert not np.asarray(Image.open(io.BytesIO(base64.b64decode(first.images["front"])))).any()
    said = capsys.readouterr().out
    assert "intervention: language=shuffled (the policy gets the instruction of another seed" in said
    assert "vision=black (the policy sees black images)" in said
    assert "right object         no object was lifted in any episode" in said
    replay = said.splitlines()[-1]
    assert replay.endswith(f"--seeds {SEED} --intervene vision=black language=shuffled")


def test_a_run_is_not_resumed_under_other_interventions(run, capsys):
    run("scripted", "run", "target=red")
    run("scripted", "run", "target=blue", flags=["--resume"], code=2)
    assert 'config.intervene: was ["target=red"], is ["target=blue"]' in capsys.readouterr().err
    run("scripted", "run", "target=red", flags=["--resume"])


def test_mistakes_end_the_command_in_one_line_and_leave_nothing(run, capsys):
    run("scripted", "run", "vision=blakc", code=2)
    run("scripted", "run2", "language=emtpy", flags=["--workers", "2"], code=2)
    errors = capsys.readouterr().err.splitlines()
    assert [line.split(".")[0] for line in errors] == [
        "error: Unknown vision intervention 'blakc'",
        "error: Unknown language intervention 'emtpy'",
    ]
    assert not Path("run").exists()


# Comparisons


def test_an_intervened_run_is_an_arm_of_the_plain_one(run, capsys):
    a, b = run("scripted", "plain"), run("zero", "zeros", "target=red")
    capsys.readouterr()
    compare.main([str(a), str(b)])
    said = capsys.readouterr().out
    assert "intervention on B    target=red (" in said
    assert "intervention on A" not in said
    replay_a, replay_b = said.splitlines()[-2:]
    assert "--intervene target=red --seeds" in replay_b
    assert "--intervene" not in replay_a
    compare.main([str(a), str(b), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["a"]["interventions"], found["b"]["interventions"]) == ([], ["target=red"])


def test_targets_may_differ_only_by_intervention(run, capsys):
    plain, red, blue = run("zero", "plain"), run("zero", "red", "target=red"), run("zero", "blue", "target=blue")
    assert compare.main([str(plain), str(red)]) == 2
    assert compare.main([str(red), str(blue)]) == 2
    said = capsys.readouterr().out
    assert "intervention on A    target=red" in said
    assert "intervention on B    target=blue" in said
    results = read_results(plain / EPISODES_FILE)
    other = {"red": "green", "green": "blue", "blue": "red"}
    write_results(plain / EPISODES_FILE, [replace(result, target=other[result.target]) for result in results])
    unexplained = run("scripted", "again", "state=zero")
    assert compare.main([str(plain), str(unexplained)]) == 3
    assert "target: A has" in capsys.readouterr().err


# What was moved


def test_an_expert_misled_about_the_target_moves_the_wrong_one(run, tmp_path, monkeypatch, capsys):
    """It learns the target from the words; by chance they name the right one in about one of three episodes."""
    (tmp_path / "listeners.py").write_text(
        "from policies.scripted.experts import PickPlaceExpert\n\n\n"
        "class Listener(PickPlaceExpert):\n"
        "    def reset(self, slots, seeds, instructions):\n"
        "        self.words = getattr(self, 'words', {}) | dict(zip(slots.tolist(), instructions))\n\n"
        "    def predict(self, observation, slots):\n"
        "        layout = self.needs.vectors['environment_state']\n"
        "        truth = observation['environment_state'].copy()\n"
        "        for row, slot in enumerate(slots.tolist()):\n"
        "            (named,) = [c for c in ('red', 'green', 'blue') if c in self.words[slot].split()]\n"
        "            for part in ('position', 'orientation'):\n"
        "                source = layout.slice(f'{named}_cube_{part}')\n"
        "                truth[row, layout.slice(f'cube_{part}')] = truth[row, source]\n"
        "        return super().predict(observation | {'environment_state': truth}, slots)\n\n\n"
        "def make(spec):\n"
        "    listener = Listener(spec)\n"
        "    listener.needs = spec.needs('state', 'environment_state', instruction=True)\n"
        "    return listener\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    plain = run("listeners:make", "plain", flags=["--episodes", "24"])
    assert RunRecord.read(plain).summary.moved_object.right == 24
    assert "right object" not in capsys.readouterr().out
    misled = run("listeners:make", "misled", "language=shuffled", flags=["--episodes", "24"])
    moved = RunRecord.read(misled).summary.moved_object
    told = planned(plan_episodes(24, SEED), "language=shuffled")
    right = sum(PickPlaceLanguage.choose_target(spec.seed) in spec.options["instruction"].split() for spec in told)
    assert (moved.right, moved.wrong) == (right, 24 - right)
    assert f"right object         {right}/24" in capsys.readouterr().out
    followed = run("listeners:make", "held-out", "language=held-out", flags=["--episodes", "24"])
    assert RunRecord.read(followed).summary.moved_object.right == 24
