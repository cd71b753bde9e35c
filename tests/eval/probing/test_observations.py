"""Probes of observations: what reaches the policy instead of what the environment shows."""

from dataclasses import replace

import numpy as np
import point_world

from envs.registration import find_environment
from envs.slots import Start
from eval.episodes.observer import Observer
from eval.episodes.plan import TEST_SEEDS, EpisodeSpec, plan_episodes
from eval.execution.assembly import build_environment, closing
from eval.probing.interventions import parse_interventions
from eval.probing.other_seed import other_seed

REACH = find_environment("reach")
NEEDS = REACH.offer().needs("state", "environment_state", cameras={"front": (32, 40), "wrist": (32, 40)})
IDS = np.arange(2)


def probes(*texts, needs=NEEDS):
    return parse_interventions(texts).probes(needs, REACH)


def specs(*seeds):
    return [EpisodeSpec(index, seed) for index, seed in enumerate(seeds)]


def observe(step, rows=2):
    """Returns an observation that is another one in every row and at every step."""
    rng = np.random.default_rng(step)
    images = {key: rng.integers(1, 256, (rows, *size, 3), dtype=np.uint8) for key, size in NEEDS.cameras.items()}
    return {key: np.full((rows, 3), 1.0 + step, dtype=np.float32) for key in NEEDS.vectors} | images


def given(text, steps=3, seeds=(5, 6)):
    """Returns what a policy is given step by step."""
    (probe,) = probes(text)
    probe.begin(IDS, specs(*seeds))
    return [probe.observe(observe(step), IDS) for step in range(steps)]


def test_words_and_targets_are_no_probes():
    assert probes("target=red", "language=empty") == []


def test_black_images():
    for step, observation in enumerate(given("vision=black")):
        for camera in NEEDS.cameras:
            assert observation[camera].shape == (2, 32, 40, 3)
            assert not observation[camera].any()
        np.testing.assert_array_equal(observation["state"], observe(step)["state"])


def test_frozen_images_are_the_first_of_the_episode():
    for observation in given("vision=frozen"):
        for camera in NEEDS.cameras:
            np.testing.assert_array_equal(observation[camera], observe(0)[camera])


def test_a_new_episode_freezes_its_own_image_and_leaves_its_neighbour():
    (probe,) = probes("vision=frozen")
    probe.begin(IDS, specs(5, 6))
    for step in (0, 1):
        probe.observe(observe(step), IDS)
    probe.begin(IDS[1:], specs(7))
    image = probe.observe(observe(2), IDS)["front"]
    np.testing.assert_array_equal(image[0], observe(0)["front"][0])
    np.testing.assert_array_equal(image[1], observe(2)["front"][1])


def test_rows_are_slots_also_when_some_do_not_look():
    (probe,) = probes("vision=frozen")
    probe.begin(IDS, specs(5, 6))
    probe.observe(observe(0), IDS)
    image = probe.observe(observe(1, rows=1), IDS[1:])["front"]
    np.testing.assert_array_equal(image[0], observe(0)["front"][1])


def test_images_of_another_seed_are_those_of_its_scene():
    received = given("vision=other-seed")
    with closing(build_environment(REACH, [NEEDS], 2)) as env:
        env.reset(IDS, [Start(other_seed(seed, "vision", TEST_SEEDS)) for seed in (5, 6)])
        expected = env.observe(IDS, np.ones(2, dtype=bool))
    for observation in received:
        for camera in NEEDS.cameras:
            np.testing.assert_array_equal(observation[camera], expected[camera])
    assert not (expected["front"][0] == expected["front"][1]).all()


def test_zeros_for_what_the_robot_measures_only():
    for step, observation in enumerate(given("state=zero")):
        assert not observation["state"].any()
        for key in ("environment_state", "front"):
            np.testing.assert_array_equal(observation[key], observe(step)[key])


class Spy(Observer):
    """Keeps what the policy is given and what the environment shows."""

    needs = point_world.SPEC.needs("position", cameras={"front": (4, 6)})

    def __init__(self):
        self.given, self.shown = [], []

    def on_look(self, slots, observation):
        self.given.append({key: rows.copy() for key, rows in observation.items()})

    def on_step(self, step):
        self.shown.append({key: rows.copy() for key, rows in step.observation.items()})


def test_other_observers_still_get_what_the_environment_shows(run_point):
    """A recorder must not store zeros instead of what there was."""
    spy, needs = Spy(), point_world.Homing(cameras=True).needs
    chosen = parse_interventions(["state=zero", "vision=black"]).probes(needs, point_world.REGISTRATION)
    run_point(plan_episodes(2), 2, observers=[spy], probes=chosen, cameras=True)
    assert spy.given
    assert not any(rows.any() for observation in spy.given for rows in observation.values())
    assert all(rows.any() for observation in spy.shown for rows in observation.values())


def test_the_environment_of_another_scene_is_closed_with_the_run(run_point):
    made = []

    def make(*arguments):
        made.append(point_world.PointEnv(*arguments))
        return made[-1]

    needs = point_world.Homing(cameras=True).needs
    registration = replace(point_world.REGISTRATION, make=make)
    probes = parse_interventions(["vision=other-seed"]).probes(needs, registration)
    run_point(plan_episodes(2), 2, probes=probes, cameras=True)
    assert [env.is_closed for env in made] == [True]
