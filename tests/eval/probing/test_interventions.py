"""Interventions: what reaches the policy, that nothing else changes, and what record and comparison say of them."""

import base64
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from imageio.v3 import imread

from envs import ENVIRONMENTS
from envs.interface import Contract, Feature, Layout
from envs.pick_place_language import HELD_OUT_TEMPLATES, TEMPLATES, PickPlaceLanguage
from envs.vector_env import TaskVectorEnv
from eval import compare, rollout
from eval.assembly import build_environment, build_policy
from eval.interventions import Interventions, other_seed, parse_interventions
from eval.moved_object import moved_objects
from eval.plan import TEST_SEEDS, EpisodeSpec, plan_episodes
from eval.results import EPISODES_FILE, RunRecord, read_results, write_results
from simscaleai.errors import SimScaleError

LANGUAGE, PICK_PLACE, REACH = (ENVIRONMENTS[name] for name in ("pick-place-language", "pick-place", "reach"))
COLOURS = ("red", "green", "blue")
SEED = 3_000_000_700
IDS = np.arange(2)
CONTRACT = Contract(
    environments={LANGUAGE: "abc"},
    state=Layout((Feature("ee_position", 3, "m", "world"),)),
    cameras=("front", "wrist"),
    image_size=(8, 10),
    language=True,
)


class Witness:
    """A policy that looks at every second step and keeps what it was given."""

    def __init__(self, contract=CONTRACT):
        self.contract, self.instructions, self.received, self.steps = contract, {}, [], {}

    def reset(self, env_ids, seeds, instructions):
        self.instructions |= dict(zip(seeds, instructions, strict=True))
        self.steps |= dict.fromkeys(env_ids.tolist(), 0)

    def needs_observation(self, env_ids):
        return np.array([self.steps[slot] % 2 == 0 for slot in env_ids.tolist()])

    def act(self, observation, env_ids):
        self.received.append(observation)
        for slot in env_ids.tolist():
            self.steps[slot] += 1
        return np.zeros((len(env_ids), 4), dtype=np.float32)


def intervene(*texts):
    return parse_interventions(texts)


def planned(plan, *texts):
    return intervene(*texts).planned(plan, LANGUAGE)


def observe(step, rows=2):
    """Returns an observation that is another one in every row and at every step."""
    image = np.random.default_rng(step).integers(1, 256, (rows, 8, 10, 6), dtype=np.uint8)
    return {"state": np.full((rows, 3), 1.0 + step, dtype=np.float32), "image": image}


def scene(seed, **options):
    """Returns instruction, target and positions of the episode `seed`."""
    env = TaskVectorEnv(LANGUAGE)
    _, info = env.reset(seed=seed, options=options)
    return info["instruction"][0], info["target"][0], env.qpos


# What can be asked for


@pytest.mark.parametrize(
    ("texts", "mistake"),
    [
        (["langage=empty"], "Unknown intervention 'langage'. Did you mean 'language'?"),
        (["language=emtpy"], "Unknown language intervention 'emtpy'. Did you mean 'empty'?"),
        (["vision=blck"], "Unknown vision intervention 'blck'. Did you mean 'black'?"),
        (["vision=two words"], "Unknown vision intervention 'two words'"),
        (["state=one"], "Available: zero"),
        (["vision"], "expected vision=…, got 'vision'; choose from: black, other-seed, frozen"),
        (["language= "], "choose from: empty, shuffled, held-out, or several words"),
        (["target="], "choose from: the colour of a cube"),
        (["vision=black", "vision=frozen"], "expected one intervention on vision, got 'black' and 'frozen'"),
    ],
)
def test_a_mistake_names_what_there_is(texts, mistake):
    with pytest.raises(SimScaleError) as raised:
        parse_interventions(texts)
    assert mistake in str(raised.value)


def test_texts_are_what_was_parsed():
    texts = ("target=red", "language=go to the {target} one", "vision=black", "state=zero")
    assert parse_interventions(texts).texts() == texts
    assert parse_interventions(()) == Interventions()
    for text in texts:
        assert text.removeprefix("language=") in intervene(text).meaning()
    assert intervene().meaning() == ""


@pytest.mark.parametrize(
    ("text", "env_id", "changes", "mistake"),
    [
        ("language=empty", LANGUAGE, {"language": False}, "the policy reads no instructions"),
        ("vision=black", LANGUAGE, {"cameras": ()}, "the policy sees no images"),
        ("language=shuffled", PICK_PLACE, {}, "needs a task with several targets"),
        ("language=held-out", REACH, {}, "needs a task with several targets"),
        ("language=take the {target} one", PICK_PLACE, {}, "needs a task with several targets"),
        ("target=red", PICK_PLACE, {}, "needs a task with several targets"),
        ("target=gren", LANGUAGE, {}, "Unknown target 'gren'. Did you mean 'green'?"),
    ],
)
def test_an_intervention_that_would_change_nothing_is_refused(text, env_id, changes, mistake):
    with pytest.raises(SimScaleError) as raised:
        intervene(text).prepare(Witness(replace(CONTRACT, **changes)), env_id)
    assert mistake in str(raised.value)


@pytest.mark.parametrize("text", ["language=empty", "language=leave it all", "vision=frozen", "state=zero"])
def test_what_needs_no_target_works_in_every_task(text):
    intervene(text).prepare(Witness(), REACH)


# Targets


def test_the_same_scenes_with_each_target_named_in_turn():
    plan = plan_episodes(6, SEED)
    for colour in COLOURS:
        for spec in planned(plan, f"target={colour}"):
            words, target, positions = scene(spec.seed, target=[spec.target])
            plain_words, plain_target, plain_positions = scene(spec.seed)
            np.testing.assert_array_equal(positions, plain_positions)
            assert target == colour
            assert words == plain_words.replace(plain_target, colour)


def test_success_is_scored_on_the_named_target():
    policy = build_policy("scripted", None, LANGUAGE)
    env = build_environment(policy.contract, LANGUAGE, 2)
    for colour in COLOURS:
        results = rollout.rollout(env, policy, planned(plan_episodes(2, SEED), f"target={colour}"))
        assert [(result.status, result.target) for result in results] == [("success", colour)] * 2
        assert all(colour in result.instruction for result in results)


# Words


def test_no_words_and_words_of_ones_own():
    (spec,) = plan_episodes(1, SEED)
    _, target, _ = scene(SEED)
    (empty,) = planned([spec], "language=empty")
    assert empty == replace(spec, instruction="")
    assert scene(SEED, instruction=[empty.instruction])[0] == ""
    (told,) = planned([spec], "language=move the {target} one {quickly}")
    assert told.instruction == f"move the {target} one {{quickly}}"
    (named,) = planned([spec], "language=move the {target} one", "target=blue")
    assert (named.instruction, named.target) == ("move the blue one", "blue")


def test_shuffled_words_are_those_of_another_episode():
    for spec in planned(plan_episodes(5, SEED), "language=shuffled"):
        other = other_seed(spec.seed, "language")
        assert other in TEST_SEEDS
        assert spec.instruction == scene(other)[0]
        assert spec.target is None


def test_shuffled_words_name_the_right_cube_by_chance_only():
    """3,000 episodes: within four standard deviations of 1/3, whatever the true target is."""
    plan = plan_episodes(3000, SEED)
    told = planned(plan, "language=shuffled")
    table = np.zeros((3, 3))
    for spec in told:
        true = PickPlaceLanguage.choose_target(spec.seed)
        (said,) = [colour for colour in COLOURS if colour in spec.instruction.split()]
        table[COLOURS.index(true), COLOURS.index(said)] += 1
    shares = table / table.sum(axis=1, keepdims=True)
    assert np.abs(shares - 1 / 3).max() < 4 * np.sqrt(2 / 9 / 900)


def test_other_seeds_are_others_and_independent_for_words_and_images():
    seeds = range(2000)
    words, images = ([other_seed(seed, stream) for seed in seeds] for stream in ("language", "vision"))
    assert words != images
    assert all(seed != other for seed, other in zip([*seeds, *seeds], [*words, *images], strict=True))
    assert len(set(words)) > 1950  # a collision or two among a million
    assert abs(np.corrcoef(words, images)[0, 1]) < 0.1
    assert words == [other_seed(seed, "language") for seed in seeds]


def test_an_episode_is_never_its_own_other(monkeypatch):
    """With two seeds to choose from there is one other."""
    monkeypatch.setattr("eval.interventions.TEST_SEEDS", range(2))
    assert [other_seed(seed, "vision") for seed in (0, 1)] == [1, 0]


def test_held_out_phrasings_name_the_target_and_are_never_used_otherwise():
    plan = plan_episodes(300, SEED)
    told = [spec.instruction for spec in planned(plan, "language=held-out")]
    targets = [PickPlaceLanguage.choose_target(spec.seed) for spec in plan]
    phrasings = {words.replace(target, "{colour}") for words, target in zip(told, targets, strict=True)}
    assert phrasings == set(HELD_OUT_TEMPLATES)
    assert len(HELD_OUT_TEMPLATES) == 5
    assert not phrasings & set(TEMPLATES)
    assert max(map(len, told)) <= 64  # what the language encoder takes
    (blue,) = planned(plan[:1], "language=held-out", "target=blue")
    assert "blue" in blue.instruction


def test_held_out_phrasings_change_no_episode():
    """As it was before there were any."""
    assert [scene(3_000_000_000 + i)[:2] for i in range(4)] == [
        ("put the green cube on the yellow disc", "green"),
        ("take the blue cube and set it down on the goal", "blue"),
        ("move the green block to the goal", "green"),
        ("bring the red cube to the yellow goal", "red"),
    ]


def test_the_plan_depends_on_seeds_alone():
    texts = ("language=shuffled",)
    alone = [planned([EpisodeSpec(0, seed)], *texts)[0].instruction for seed in (9, 8, 7)]
    together = planned([EpisodeSpec(i, seed) for i, seed in enumerate((7, 8, 9))], *texts)
    assert [spec.instruction for spec in together] == alone[::-1]


# Images and states


def given(text, steps=4, policy=None, env_id=LANGUAGE, seeds=(5, 6)):
    """Returns what a policy was given in each step, and where the environment was asked to draw."""
    policy = policy or Witness()
    before = intervene(text).stand_before(policy, env_id)
    before.reset(IDS, list(seeds), ["go", "go"])
    drawn = []
    for step in range(steps):
        drawn.append(before.needs_observation(IDS).tolist())
        before.act(observe(step), IDS)
    return policy.received, drawn


def test_nothing_stands_before_a_policy_that_gets_what_there_is():
    policy = Witness()
    assert intervene("target=red", "language=empty").stand_before(policy, LANGUAGE) is policy


def test_black_images():
    received, drawn = given("vision=black")
    assert not any(observation["image"].any() for observation in received)
    assert all(observation["image"].shape == (2, 8, 10, 6) for observation in received)
    np.testing.assert_array_equal(received[1]["state"], observe(1)["state"])
    assert drawn == [[False, False]] * 4  # nobody looks, so nothing is drawn


def test_frozen_images_are_the_first_of_the_episode():
    policy = Witness()
    received, drawn = given("vision=frozen", policy=policy)
    assert all((observation["image"] == observe(0)["image"]).all() for observation in received)
    assert drawn == [[True, True], *[[False, False]] * 3]


def test_a_new_episode_freezes_its_own_image_and_leaves_its_neighbour():
    policy = Witness()
    before = intervene("vision=frozen").stand_before(policy, LANGUAGE)
    before.reset(IDS, [5, 6], ["go", "go"])
    for step in (0, 1):
        before.act(observe(step), IDS)
    before.reset(IDS[1:], [7], ["go"])
    before.act(observe(2), IDS)
    image = policy.received[-1]["image"]
    np.testing.assert_array_equal(image[0], observe(0)["image"][0])
    np.testing.assert_array_equal(image[1], observe(2)["image"][1])


def test_rows_are_slots_also_when_some_have_ended():
    policy = Witness()
    before = intervene("vision=frozen").stand_before(policy, LANGUAGE)
    before.reset(IDS, [5, 6], ["go", "go"])
    before.act(observe(0), IDS)
    before.act(observe(1, rows=1), IDS[1:])
    np.testing.assert_array_equal(policy.received[-1]["image"][0], observe(0)["image"][1])


def test_images_of_another_seed_are_those_of_its_scene():
    env = TaskVectorEnv(LANGUAGE, 2, cameras=("front", "wrist"), image_size=(32, 40), images_on_request=True)
    contract = replace(env.contract, environment_state=None)
    received, drawn = given("vision=other-seed", policy=Witness(contract))
    env.reset(seed=[other_seed(seed, "vision") for seed in (5, 6)])
    expected = env.render_images(np.ones(2, dtype=bool))
    assert all((observation["image"] == expected).all() for observation in received)
    assert not (expected[0] == expected[1]).all()
    assert drawn == [[False, False]] * 4


def test_a_state_of_zeros():
    received, drawn = given("state=zero")
    assert not any(observation["state"].any() for observation in received)
    np.testing.assert_array_equal(received[2]["image"], observe(2)["image"])
    assert drawn[:2] == [[True, True], [False, False]]


def test_what_the_environment_observed_is_not_overwritten():
    """Observers keep it: a recorder must not take zeros for what there was."""
    before = intervene("state=zero", "vision=black").stand_before(Witness(), LANGUAGE)
    before.reset(IDS, [5, 6], ["go", "go"])
    observation = observe(0)
    before.act(observation, IDS)
    assert observation["state"].all()
    assert observation["image"].all()


@pytest.mark.parametrize(
    ("text", "empty_accepted", "constant_accepted"),
    [
        (None, False, False),
        ("language=empty", True, False),
        ("vision=black", False, True),
        ("language=shuffled", False, False),
        ("vision=frozen", False, False),
    ],
)
def test_a_learned_policy_takes_only_what_is_meant(make_checkpoint, text, empty_accepted, constant_accepted):
    policy = build_policy(str(make_checkpoint("vla-mlp", env_id=LANGUAGE)), None, LANGUAGE)
    intervene(*([text] if text else [])).prepare(policy, LANGUAGE)
    ids = IDS[:1]

    def is_taken(instruction, image):
        state = np.zeros((1, policy.contract.state.size), dtype=np.float32)
        try:
            policy.reset(ids, [5], [instruction])
            policy.act({"state": state, "image": image}, ids)
        except SimScaleError:
            return False
        return True

    black = np.zeros((1, 40, 40, 3), dtype=np.uint8)
    image = np.random.default_rng(0).integers(0, 256, black.shape, dtype=np.uint8)
    assert is_taken("go", image)
    assert is_taken("", image) is empty_accepted
    assert is_taken("go", black) is constant_accepted


# Runs


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


@pytest.mark.parametrize(
    "texts",
    [
        ("vision=other-seed", "language=empty"),
        pytest.param(("vision=frozen", "language=shuffled", "target=blue"), marks=pytest.mark.slow),
        pytest.param(("vision=black", "language=held-out", "state=zero"), marks=pytest.mark.slow),
    ],
)
def test_an_episode_is_a_function_of_policy_environment_seed_and_interventions(run, make_checkpoint, texts):
    model = make_checkpoint("vla-mlp", env_id=LANGUAGE)
    together = run(model, "together", *texts, flags=["--num-envs", "3"])
    workers = run(model, "workers", *texts, flags=["--num-envs", "1", "--workers", "2"])
    assert (workers / EPISODES_FILE).read_bytes() == (together / EPISODES_FILE).read_bytes()
    assert RunRecord.read(workers).receipts == RunRecord.read(together).receipts
    results = read_results(together / EPISODES_FILE)
    specs = planned(plan_episodes(3, SEED), *texts)
    assert [result.instruction for result in results] == [spec.instruction for spec in specs]


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
    first = record.receipts[0]
    assert first["instruction"] == read_results(folder / EPISODES_FILE)[0].instruction
    assert not imread(base64.b64decode(first["images"]["front"])).any()
    said = capsys.readouterr().out
    assert "intervention: language=shuffled (the policy gets the instruction of another seed" in said
    assert "vision=black (the policy sees black images)" in said
    assert "right object         no episode in which any object was lifted" in said
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


def test_checkpoints_are_not_chosen_under_an_intervention(tmp_path, capsys):
    assert rollout.main(["--validate", "a", "b", "--intervene", "state=zero"]) == 2
    assert "expected --validate or --intervene, got both" in capsys.readouterr().err


# Comparisons


def test_an_intervened_run_is_an_arm_of_the_plain_one(run, capsys):
    a, b = run("scripted", "plain"), run("zero", "zeros", "state=zero")
    capsys.readouterr()
    assert compare.main([str(a), str(b)]) == 2  # three episodes cannot tell
    said = capsys.readouterr().out
    assert "intervention on B    state=zero (the robot's state reaches the policy as zeros)" in said
    assert "intervention on A" not in said
    replay_a, replay_b = said.splitlines()[-2:]
    assert "--intervene state=zero --seeds" in replay_b
    assert "--intervene" not in replay_a
    assert compare.main([str(a), str(b), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["a"]["interventions"], found["b"]["interventions"]) == ([], ["state=zero"])


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
    unexplained = run("zero", "again", "state=zero")
    assert compare.main([str(plain), str(unexplained)]) == 3
    assert "target: A has" in capsys.readouterr().err


# What was moved


def test_the_share_of_the_right_object_is_among_those_that_were_lifted(run):
    (any_result, *_) = read_results(run("zero", "run") / EPISODES_FILE)

    def episodes(n, status, stage, failure):
        return [replace(any_result, status=status, stage=stage, failure=failure)] * n

    results = [
        *episodes(20, "success", "placed", None),
        *episodes(6, "failure", "lifted", "dropped"),
        *episodes(3, "failure", "placed", "placed_then_knocked"),
        *episodes(1, "failure", "lifted", "policy_exception"),
        *episodes(58, "failure", "approached", "wrong_object"),
        *episodes(2, "failure", "grasped", "wrong_object"),
        *episodes(10, "failure", "grasped", "missed_grasp"),
    ]
    moved = moved_objects(results)
    assert (moved.right, moved.wrong, moved.n) == (30, 60, 90)
    assert moved.text() == "30/90   33.3 %   95 % interval [24.5, 43.6] (Wilson, of what was lifted)"
    assert moved.to_json()["right_share_95"] == pytest.approx([0.2446, 0.4357], abs=1e-4)
    low, high = moved_objects(results, sequential=True).to_json()["right_share_95"]
    assert low < 0.24
    assert high > 0.44


def test_an_expert_misled_about_the_target_moves_the_wrong_one(run, tmp_path, monkeypatch, capsys):
    """It is told the target, but by the words; by chance they name the right one in about one of three episodes."""
    (tmp_path / "listeners.py").write_text(
        "from policies.scripted import PickPlaceExpert\n\n\n"
        "class Listener(PickPlaceExpert):\n"
        "    def reset(self, env_ids, seeds, instructions):\n"
        "        self.words = getattr(self, 'words', {}) | dict(zip(env_ids.tolist(), instructions))\n\n"
        "    def act(self, observation, env_ids):\n"
        "        truth = observation['environment_state'].copy()\n"
        "        for row, slot in enumerate(env_ids.tolist()):\n"
        "            (named,) = [c for c in ('red', 'green', 'blue') if c in self.words[slot].split()]\n"
        "            for part in ('position', 'orientation'):\n"
        "                source = self._truth.slice(f'{named}_cube_{part}')\n"
        "                truth[row, self._truth.slice(f'cube_{part}')] = truth[row, source]\n"
        "        return super().act(observation | {'environment_state': truth}, env_ids)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    plain = run("listeners:Listener", "plain", flags=["--episodes", "24"])
    assert RunRecord.read(plain).summary["moved_object"]["right"] == 24
    assert "right object" not in capsys.readouterr().out
    misled = run("listeners:Listener", "misled", "language=shuffled", flags=["--episodes", "24"])
    moved = RunRecord.read(misled).summary["moved_object"]
    told = planned(plan_episodes(24, SEED), "language=shuffled")
    right = sum(PickPlaceLanguage.choose_target(spec.seed) in spec.instruction.split() for spec in told)
    assert (moved["right"], moved["wrong"]) == (right, 24 - right)
    assert f"right object         {right}/24" in capsys.readouterr().out
    followed = run("listeners:Listener", "held-out", "language=held-out", flags=["--episodes", "24"])
    assert RunRecord.read(followed).summary["moved_object"]["right"] == 24
