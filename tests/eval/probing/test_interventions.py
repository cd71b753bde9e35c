"""Interventions: what can be asked for, and what they make of a plan."""

from dataclasses import replace

import numpy as np
import pytest

from envs.registration import environment_names, find_environment
from envs.slots import Start
from envs.tabletop.tasks.pick_place_language import HELD_OUT_TEMPLATES, TEMPLATES, PickPlaceLanguage
from eval.episodes.loop import rollout
from eval.episodes.plan import TEST_SEEDS, EpisodeSpec, plan_episodes
from eval.execution.assembly import build_environment, build_policy, closing
from eval.probing.instructions import choice_of_targets
from eval.probing.interventions import Interventions, parse_interventions
from eval.probing.other_seed import other_seed
from simscaleai.errors import SimScaleError

LANGUAGE, PICK_PLACE, REACH = (environment_names()[name] for name in ("pick-place-language", "pick-place", "reach"))
COLOURS = ("red", "green", "blue")
SEED = 3_000_000_700
NEEDS = find_environment(LANGUAGE).offer().needs("state", cameras={"front": (8, 10)}, instruction=True)


def intervene(*texts):
    return parse_interventions(texts)


def planned(plan, *texts):
    return intervene(*texts).planned(plan, LANGUAGE)


@pytest.fixture(scope="module")
def scene():
    """Returns instruction, target and state of the episode that a seed and options start."""
    registration = find_environment(LANGUAGE)
    with closing(build_environment(registration, [], 1)) as env:

        def begin(seed, **options):
            (begun,) = env.reset(np.array([0]), [Start(seed, options)])
            return begun.instruction, begun.facts["target"], env.state(np.array([0]))[0]

        yield begin


# What can be asked for


@pytest.mark.parametrize(
    ("texts", "mistake"),
    [
        (["langage=empty"], "Unknown intervention 'langage'. Did you mean 'language'?"),
        (["language=emtpy"], "Unknown language intervention 'emtpy'. Did you mean 'empty'?"),
        (["vision=blck"], "Unknown vision intervention 'blck'. Did you mean 'black'?"),
        (["vision=two words"], "Unknown vision intervention 'two words'"),
        (["state=one"], "Choose from: zero"),
        (["vision"], "expected vision=…, got 'vision'; choose from: black, other-seed, frozen"),
        (["language= "], "choose from: empty, shuffled, held-out, counterfactual, or several words"),
        (["target="], "choose from: the colour of a cube"),
        (["vision=black", "vision=frozen"], "expected one intervention on vision, got 'black' and 'frozen'"),
    ],
)
def test_a_mistake_names_the_choices(texts, mistake):
    with pytest.raises(SimScaleError) as raised:
        parse_interventions(texts)
    assert mistake in str(raised.value)


def test_texts_are_what_was_parsed():
    texts = ("target=red", "language=go to the {target} one", "vision=black", "state=zero")
    assert parse_interventions(texts).texts() == texts
    assert parse_interventions(()) == Interventions()
    for text in texts:
        assert text.removeprefix("language=") in intervene(text).meaning()
        assert intervene(text).meanings() == {text: intervene(text).meaning()}
    assert intervene().meaning() == ""


@pytest.mark.parametrize(
    ("text", "env_id", "changes", "mistake"),
    [
        ("language=empty", LANGUAGE, {"instruction": False}, "the policy reads no instructions"),
        ("vision=black", LANGUAGE, {"cameras": {}}, "the policy sees no images"),
        ("state=zero", LANGUAGE, {"vectors": {}}, "the policy reads nothing that a robot measures"),
        ("language=shuffled", PICK_PLACE, {}, "needs a task with several targets"),
        ("language=held-out", REACH, {}, "needs a task with several targets"),
        ("language=take the {target} one", PICK_PLACE, {}, "needs a task with several targets"),
        ("target=red", PICK_PLACE, {}, "needs a task with several targets"),
        ("target=red", "Test/Point-v0", {}, "needs a task with several targets"),
        ("target=gren", LANGUAGE, {}, "Unknown target 'gren'. Did you mean 'green'?"),
    ],
)
def test_an_intervention_that_would_change_nothing_is_refused(text, env_id, changes, mistake):
    with pytest.raises(SimScaleError) as raised:
        intervene(text).check(replace(NEEDS, **changes), env_id)
    assert mistake in str(raised.value)


@pytest.mark.parametrize("text", ["language=empty", "language=leave it all", "vision=frozen", "state=zero"])
@pytest.mark.parametrize("env_id", [REACH, "Test/Point-v0"])
def test_what_needs_no_target_works_in_every_environment(text, env_id):
    intervene(text).check(NEEDS, env_id)
    assert intervene(text).planned(plan_episodes(1), env_id)


def test_targets_are_those_of_the_task():
    assert choice_of_targets(LANGUAGE) == COLOURS
    assert choice_of_targets(PICK_PLACE) == choice_of_targets("Test/Point-v0") == ()


# Targets


def test_the_same_scenes_with_each_target_named_in_turn(scene):
    plan = plan_episodes(6, SEED)
    for colour in COLOURS:
        for spec in planned(plan, f"target={colour}"):
            words, target, state = scene(spec.seed, **spec.options)
            plain_words, plain_target, plain_state = scene(spec.seed)
            assert state == plain_state
            assert target == colour
            assert words == plain_words.replace(plain_target, colour)


def test_success_is_scored_on_the_named_target():
    registration = find_environment(LANGUAGE)
    policy = build_policy("scripted", None, registration.offer())
    with closing(build_environment(registration, [policy.needs], 2)) as env:
        for colour in COLOURS:
            results = rollout(env, policy, planned(plan_episodes(2, SEED), f"target={colour}"))
            assert [(result.status, result.target) for result in results] == [("success", colour)] * 2
            assert all(colour in result.instruction for result in results)


# Words


def test_no_words_and_words_of_ones_own(scene):
    (spec,) = plan_episodes(1, SEED)
    _, target, _ = scene(SEED)
    (empty,) = planned([spec], "language=empty")
    assert empty == replace(spec, options={"instruction": ""})
    assert scene(SEED, **empty.options)[0] == ""
    (told,) = planned([spec], "language=move the {target} one {quickly}")
    assert told.options["instruction"] == f"move the {target} one {{quickly}}"
    (named,) = planned([spec], "language=move the {target} one", "target=blue")
    assert named.options == {"instruction": "move the blue one", "target": "blue"}


def test_other_options_of_an_episode_stay():
    (spec,) = planned([EpisodeSpec(0, SEED, options={"light": 3})], "target=blue")
    assert spec.options == {"light": 3, "target": "blue"}


def test_shuffled_words_are_those_of_another_episode(scene):
    for spec in planned(plan_episodes(5, SEED), "language=shuffled"):
        other = other_seed(spec.seed, "language", TEST_SEEDS)
        assert other in TEST_SEEDS
        assert spec.options == {"instruction": scene(other)[0]}


def test_shuffled_words_name_the_right_cube_by_chance_only():
    """3,000 episodes: within four standard deviations of 1/3, whatever the true target is."""
    plan = plan_episodes(3000, SEED)
    told = planned(plan, "language=shuffled")
    table = np.zeros((3, 3))
    for spec in told:
        true = PickPlaceLanguage.choose_target(spec.seed)
        (said,) = [colour for colour in COLOURS if colour in spec.options["instruction"].split()]
        table[COLOURS.index(true), COLOURS.index(said)] += 1
    shares = table / table.sum(axis=1, keepdims=True)
    assert np.abs(shares - 1 / 3).max() < 4 * np.sqrt(2 / 9 / 900)


def test_other_seeds_are_others_and_independent_for_words_and_images():
    seeds = range(2000)
    words, images = ([other_seed(seed, stream, TEST_SEEDS) for seed in seeds] for stream in ("language", "vision"))
    assert words != images
    assert all(seed != other for seed, other in zip([*seeds, *seeds], [*words, *images], strict=True))
    assert len(set(words)) > 1950  # a collision or two among a million
    assert abs(np.corrcoef(words, images)[0, 1]) < 0.1
    assert words == [other_seed(seed, "language", TEST_SEEDS) for seed in seeds]


def test_an_episode_is_never_its_own_other():
    """With two seeds to choose from, one remains."""
    assert [other_seed(seed, "vision", range(2)) for seed in (0, 1)] == [1, 0]


def test_a_counterfactual_instruction_names_another_object_in_the_usual_words():
    plan = plan_episodes(60)
    usual = [PickPlaceLanguage.phrase(PickPlaceLanguage.choose_target(spec.seed), spec.seed) for spec in plan]
    named = set()
    for spec, words in zip(planned(plan, "language=counterfactual"), usual, strict=True):
        target = PickPlaceLanguage.choose_target(spec.seed)
        (other,) = [colour for colour in PickPlaceLanguage.colours if colour in spec.options["instruction"]]
        assert other != target
        assert spec.options["instruction"] == words.replace(target, other)
        assert "target" not in spec.options
        named.add((target, other))
    assert len(named) == 6


def test_held_out_phrasings_name_the_target_and_are_never_used_otherwise():
    plan = plan_episodes(300, SEED)
    told = [spec.options["instruction"] for spec in planned(plan, "language=held-out")]
    targets = [PickPlaceLanguage.choose_target(spec.seed) for spec in plan]
    phrasings = {words.replace(target, "{colour}") for words, target in zip(told, targets, strict=True)}
    assert phrasings == set(HELD_OUT_TEMPLATES)
    assert len(HELD_OUT_TEMPLATES) == 5
    assert not phrasings & set(TEMPLATES)
    assert max(map(len, told)) <= 64  # what the language encoder takes
    (blue,) = planned(plan[:1], "language=held-out", "target=blue")
    assert "blue" in blue.options["instruction"]


def test_held_out_phrasings_change_no_episode(scene):
    """As it was before there were any."""
    assert [scene(3_000_000_000 + i)[:2] for i in range(4)] == [
        ("put the green cube on the yellow disc", "green"),
        ("take the blue cube and set it down on the goal", "blue"),
        ("move the green block to the goal", "green"),
        ("bring the red cube to the yellow goal", "red"),
    ]


def test_the_plan_depends_on_seeds_alone():
    texts = ("language=shuffled",)
    alone = [planned([EpisodeSpec(0, seed)], *texts)[0].options for seed in (9, 8, 7)]
    together = planned([EpisodeSpec(i, seed) for i, seed in enumerate((7, 8, 9))], *texts)
    assert [spec.options for spec in together] == alone[::-1]
