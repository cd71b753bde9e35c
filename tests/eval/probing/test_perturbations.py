"""Perturbations that a user asks for: what the words mean, which are refused, and the plan that they lead to."""

import pytest

from eval.episodes.plan import EpisodeSpec, plan_episodes
from eval.probing.perturbations import PerturbationError, parse_perturbations
from simscaleai.errors import UnknownNameError
from simscaleai.perturbation import Axis, axis_stream, with_direction


def axis(name, unit="", magnitudes=(1, 2, 3, 4, 5), *, is_signed=False, limit=None):
    return Axis(
        name=name,
        unit=unit,
        magnitudes=magnitudes,
        changes="physics",
        is_signed=is_signed,
        summary="",
        limit=limit,
    )


AXES = {
    each.name: each
    for each in (
        axis("light.intensity", "stop", (0.25, 0.5, 0.75, 1, 1.3), is_signed=True, limit=5),
        axis("light.colour", "ΔE", (5, 10, 20, 30, 40)),
        axis("camera.azimuth", "deg", (5, 15, 30, 45, 75), is_signed=True),
        axis("distractors"),
        axis("image.blur", "px"),
        axis("image.blur.front", "px"),
        axis("image.blur.wrist", "px"),
    )
}


def planned(*texts, seed=7, ranges=False):
    (spec,) = parse_perturbations(texts, AXES, allow_ranges=ranges).planned([EpisodeSpec(0, seed)])
    return spec.perturbation


@pytest.mark.parametrize(
    ("texts", "perturbation"),
    [
        (["camera.azimuth=2"], {"camera.azimuth": 15}),
        (["camera.azimuth=20deg"], {"camera.azimuth": 20}),
        (["camera.azimuth=-20.5deg"], {"camera.azimuth": -20.5}),
        (["camera.azimuth=+20deg"], {"camera.azimuth": "+20.0"}),
        (["camera.azimuth=-2"], {"camera.azimuth": -15}),
        (["light=3"], {"light.intensity": 0.75, "light.colour": 20}),
        (["light=3", "distractors=4"], {"light.intensity": 0.75, "light.colour": 20, "distractors": 4}),
        (["distractors=2.0"], {"distractors": 2}),
        (["image=1"], {"image.blur": 1}),
        (["image.blur.wrist=1", "image.blur.front=.5px"], {"image.blur.wrist": 1, "image.blur.front": 0.5}),
        (["light=0", "camera.azimuth=0deg"], None),
    ],
)
def test_levels_magnitudes_signs_and_groups(texts, perturbation):
    assert planned(*texts) == perturbation


@pytest.mark.parametrize(
    ("texts", "error", "says"),
    [
        (["lihgt=3"], UnknownNameError, "Unknown axis 'lihgt'. Did you mean 'light'?"),
        (["camera.azimut=3"], UnknownNameError, "Did you mean 'camera.azimuth'?"),
        (["image.blur.wirst=3"], UnknownNameError, "Did you mean 'image.blur.wrist'?"),
        (["light"], PerturbationError, "expected AXIS=LEVEL or AXIS=MAGNITUDE, got 'light'; for example light=3"),
        (["light="], PerturbationError, "got 'light='"),
        (["=3"], UnknownNameError, "Unknown axis ''"),
        (["light=6"], PerturbationError, "level from 0 to 5 for light.intensity, or a magnitude such as 0.75stop"),
        (["camera.azimuth=15rad"], PerturbationError, "such as 30deg; got 'camera.azimuth=15rad'"),
        (["camera.azimuth=1.5"], PerturbationError, "such as 30deg; got 'camera.azimuth=1.5'"),
        (["camera.azimuth=much"], PerturbationError, "got 'camera.azimuth=much'"),
        (["camera.azimuth=nandeg"], PerturbationError, "got 'camera.azimuth=nandeg'"),
        (["light=15deg"], PerturbationError, "got 'light=15deg'"),
        (
            ["light.intensity=9stop"],
            PerturbationError,
            "at most 5stop for light.intensity",
        ),
        (["camera.azimuth=٣"], PerturbationError, "got 'camera.azimuth=٣'"),
        ([f"camera.azimuth={10**400}deg"], PerturbationError, "expected at most 1.79769e+308deg"),
        (["distractors=-2"], PerturbationError, "distractors has no direction, so its value has no sign"),
        (
            ["light=2", "light.colour=1"],
            PerturbationError,
            "got light=2 and light.colour=1; leave one out",
        ),
        (["image.blur=2", "image.blur.wrist=1"], PerturbationError, "got image.blur=2 and image.blur.wrist=1"),
        (["light=0..3"], PerturbationError, "one level, got the range 'light=0..3'"),
    ],
)
def test_mistakes_are_one_line_that_says_what_to_do(texts, error, says):
    with pytest.raises(error) as raised:
        parse_perturbations(texts, AXES)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["light=3..1", "light=0..6", "light=1..", "light=0...3", "light=-1..2"])
def test_ranges_must_be_of_levels_and_increase(text):
    with pytest.raises(PerturbationError, match="light"):
        parse_perturbations([text], AXES, allow_ranges=True)


def test_a_range_is_drawn_from_the_seed_alone_uniformly_in_magnitude():
    drawn = [planned("camera.azimuth=1..3", seed=seed, ranges=True)["camera.azimuth"] for seed in range(400)]
    assert planned("distractors=2", "camera.azimuth=1..3", seed=9, ranges=True)["camera.azimuth"] == drawn[9]
    assert 5 <= min(drawn) < 6
    assert 29 < max(drawn) <= 30
    assert sum(each < 17.5 for each in drawn) == pytest.approx(200, abs=40)
    other = [planned("light=1..3", seed=seed, ranges=True) for seed in range(3)]
    assert all(each["light.intensity"] / 0.75 != each["light.colour"] / 20 for each in other)


def test_a_plan_names_its_arm_and_keeps_the_rest():
    perturbations = parse_perturbations(["light=3", "distractors=0", "camera.azimuth=20deg"], AXES)
    plan = perturbations.planned([EpisodeSpec(4, 9, {"target": "red"}, task="t")])
    magnitudes = {"light.intensity": 0.75, "light.colour": 20, "camera.azimuth": 20}
    assert plan == (EpisodeSpec(4, 9, {"target": "red"}, "t", "light=3 camera.azimuth=20deg", magnitudes),)
    assert perturbations.meanings() == {
        "light=3": "light.intensity 0.75 stop, light.colour 20 ΔE",
        "camera.azimuth=20deg": "camera.azimuth 20 deg",
    }


def test_level_0_leaves_the_plan_as_it_is():
    plan = plan_episodes(3)
    assert parse_perturbations(["light=0"], AXES).planned(plan) == plan


def test_a_sign_is_drawn_from_the_seed_unless_it_is_given():
    azimuth = AXES["camera.azimuth"]

    def size(text, seed):
        return with_direction(azimuth, planned(text, seed=seed)["camera.azimuth"], axis_stream(seed, azimuth.name))

    drawn = [size("camera.azimuth=15deg", seed) for seed in range(100)]
    assert set(drawn) == {15, -15}
    assert 30 < sum(each > 0 for each in drawn) < 70
    assert {size("camera.azimuth=+15deg", seed) for seed in range(9)} == {15}
    assert {size("camera.azimuth=-15deg", seed) for seed in range(9)} == {-15}
