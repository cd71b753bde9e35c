"""Faults of cameras: which pictures reach the policy, and that only the seed of the episode decides."""

import numpy as np
import pytest

from eval.episodes.plan import EpisodeSpec
from eval.probing.cameras import CameraFaults
from eval.probing.corruptions import add_noise, blur
from simscaleai.perturbation import axis_stream

CAMERAS = ("front", "wrist")


def seen(look, slots):
    """Return images that are others for every camera, slot and look, but smooth and never black."""
    ramp = 9 + np.linspace(0, 60, 12)[:, None] + np.linspace(0, 60, 16)
    observation = {"state": np.zeros((len(slots), 3), np.float32)}
    for number, camera in enumerate(CAMERAS):
        pictures = [np.stack([ramp + 8 * slot + 3 * look + 40 * number] * 3, axis=-1) for slot in slots]
        observation[camera] = np.stack(pictures).astype(np.uint8)
    return observation


def looks(perturbation, count=4, *, slots=(0,), seeds=(7,), cameras=CAMERAS):
    """Return what the policy gets at each look."""
    probe = CameraFaults(cameras)
    specs = [EpisodeSpec(index, seed, perturbation=perturbation) for index, seed in enumerate(seeds)]
    probe.begin(np.array(slots), specs)
    return [probe.observe(seen(look, slots), np.array(slots)) for look in range(count)]


def test_a_corruption_reaches_all_cameras_or_the_one_that_is_named():
    (both,) = looks({"image.blur": 2}, 1)
    (wrist,) = looks({"image.blur.wrist": 2}, 1)
    nominal = seen(0, (0,))
    for camera in CAMERAS:
        np.testing.assert_array_equal(both[camera], blur(nominal[camera], 2, None))
    np.testing.assert_array_equal(wrist["front"], nominal["front"])
    np.testing.assert_array_equal(wrist["wrist"], both["wrist"])
    assert not wrist["state"].any()


def test_noise_is_new_at_every_look_and_in_every_camera():
    given = looks({"image.noise": 8}, 2)
    noise = [given[look][camera].astype(int) - seen(look, (0,))[camera] for look in (0, 1) for camera in CAMERAS]
    assert all((one != other).any() for index, one in enumerate(noise) for other in noise[:index])
    stream = axis_stream(7, "image.noise.front")
    np.testing.assert_array_equal(given[0]["front"], add_noise(seen(0, (0,))["front"], 8, stream))


def test_an_occlusion_stays_where_it_is():
    given = looks({"image.occlusion": 20}, 3)
    black = [(observation["front"] == 0).all(axis=-1) for observation in given]
    assert black[0].any()
    np.testing.assert_array_equal(black[0], black[2])


def brightness_changes(magnitude, seed):
    """Return the signs of the changes of brightness in two looks at two cameras."""
    given = looks({"image.brightness": magnitude}, 2, seeds=(seed,))
    pairs = [(each[camera], seen(look, (0,))[camera]) for look, each in enumerate(given) for camera in CAMERAS]
    return {int(np.sign(changed.mean() - nominal.mean())) for changed, nominal in pairs}


def test_brightness_has_one_direction_in_an_episode_from_its_seed_or_as_told():
    drawn = [brightness_changes(1, seed) for seed in range(12)]
    assert all(len(signs) == 1 for signs in drawn)
    assert set().union(*drawn) == {-1, 1}
    assert brightness_changes(-1, 3) == {-1}
    assert brightness_changes("+1", 3) == {1}


def test_a_missing_camera_is_black_and_a_frozen_one_shows_its_first_picture():
    for look, given in enumerate(looks({"feed.missing.wrist": 100, "feed.frozen.front": 100})):
        assert not given["wrist"].any()
        np.testing.assert_array_equal(given["front"], seen(0, (0,))["front"])
        assert look < 4


def test_swapped_cameras_show_each_others_pictures():
    for look, given in enumerate(looks({"feed.swapped": 100})):
        np.testing.assert_array_equal(given["front"], seen(look, (0,))["wrist"])
        np.testing.assert_array_equal(given["wrist"], seen(look, (0,))["front"])


@pytest.mark.parametrize("percent", [20, 60])
def test_a_share_of_the_looks_is_hit(percent):
    given = looks({"feed.missing.front": percent}, 600)
    assert np.mean([not each["front"].any() for each in given]) == pytest.approx(percent / 100, abs=0.06)
    frozen = [
        (each["front"] != seen(look, (0,))["front"]).any()
        for look, each in enumerate(looks({"feed.frozen.front": percent}, 40))
    ]
    assert 0 < sum(frozen) < 40


def test_faults_come_before_corruptions():
    (given,) = looks({"feed.swapped": 100, "image.blur": 2}, 1)
    np.testing.assert_array_equal(given["front"], blur(seen(0, (0,))["wrist"], 2, None))


def test_an_episode_depends_on_its_seed_alone():
    perturbation = {"image.noise": 12, "feed.frozen": 40, "feed.missing": 20, "image.occlusion": 10}
    alone = looks(perturbation, 6)
    probe = CameraFaults(CAMERAS)
    probe.begin(np.array([0, 2]), [EpisodeSpec(5, 9, perturbation=perturbation), EpisodeSpec(6, 1)])
    probe.observe(seen(0, (0, 2)), np.array([0, 2]))
    probe.begin(np.array([0]), [EpisodeSpec(0, 7, perturbation=perturbation)])
    for look in range(6):
        together = probe.observe(seen(look, (0, 2)), np.array([0, 2]))
        for camera in CAMERAS:
            np.testing.assert_array_equal(together[camera][0], alone[look][camera][0])
            np.testing.assert_array_equal(together[camera][1], seen(look, (2,))[camera][0])


def test_what_the_environment_gave_stays_as_it_is():
    probe, observation = CameraFaults(CAMERAS), seen(0, (0,))
    probe.begin(np.array([0]), [EpisodeSpec(0, 7, perturbation={"image.noise": 12, "feed.missing": 100})])
    probe.observe(observation, np.array([0]))
    np.testing.assert_array_equal(observation["front"], seen(0, (0,))["front"])
    probe.begin(np.array([0]), [EpisodeSpec(0, 7)])
    assert probe.observe(observation, np.array([0])) is observation


def test_a_history_is_changed_as_a_whole():
    probe = CameraFaults(("front",))
    probe.begin(np.array([0]), [EpisodeSpec(0, 7, perturbation={"image.blur": 2})])
    windows = np.stack([seen(look, (0,))["front"][0] for look in range(3)])[None]
    found = probe.observe({"front": windows}, np.array([0]))["front"]
    np.testing.assert_array_equal(found[0], blur(windows[0], 2, None))
