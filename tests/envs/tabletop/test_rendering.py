"""The video profile: for people, beside the observation profile and without influence on it."""

import numpy as np
import pytest

from envs.interface import CAMERAS, SimScaleError
from envs.rendering import OVERVIEW, VIDEO_CAMERAS
from envs.vector_env import TaskVectorEnv

SEED = 3_000_000_100


def saturated(frame, low, high):
    """Returns how many pixels have a hue [degrees] between `low` and `high` and are no shade of grey."""
    red, green, blue = np.moveaxis(frame.astype(float), -1, 0)
    hue = np.degrees(np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)) % 360
    strong = (frame.max(axis=-1).astype(int) - frame.min(axis=-1)) > 90
    return int((strong & (hue >= low) & (hue < high)).sum())


def test_the_overview_shows_cubes_and_goal_wherever_they_lie():
    env = TaskVectorEnv("SimScale/PickPlaceLanguage-v0", 6, num_threads=1)
    env.reset(seed=SEED)
    for slot in range(6):
        frame = env.render_frame(slot, size=(160, 160))
        found = {name: saturated(frame, *hues) for name, hues in HUES.items()}
        assert min(found.values()) >= 8, found
        edge = np.concatenate([frame[0], frame[-1], frame[:, 0], frame[:, -1]])[None]
        assert [saturated(edge, *hues) for hues in HUES.values()] == [0] * 4


HUES = {"red": (-1, 20), "goal": (35, 60), "green": (110, 170), "blue": (205, 250)}


def test_the_overview_looks_from_elsewhere_and_shadows_fall():
    env = TaskVectorEnv("SimScale/PickPlace-v0", 1)
    env.reset(seed=SEED)
    frames = {camera: env.render_frame(0, camera=camera, size=(64, 64)).astype(int) for camera in VIDEO_CAMERAS}
    for camera in CAMERAS:
        assert np.abs(frames[OVERVIEW] - frames[camera]).mean() > 10
    plain = TaskVectorEnv("SimScale/PickPlace-v0", 1, cameras=("front",), image_size=(64, 64))
    observed = plain.reset(seed=SEED)[0]["image"][0].astype(int)
    darker = (observed - frames["front"]).min(axis=-1) > 20
    assert 0.02 < darker.mean() < 0.5


def test_an_unknown_camera_is_a_mistake_that_names_the_others():
    env = TaskVectorEnv("SimScale/Reach-v0", 1)
    env.reset(seed=0)
    with pytest.raises(SimScaleError, match="Did you mean 'overview'"):
        env.render_frame(0, camera="overveiw")


def test_filming_leaves_what_policies_see_as_it_is():
    env = TaskVectorEnv("SimScale/PickPlace-v0", 1, cameras=CAMERAS, image_size=(48, 48))
    before, _ = env.reset(seed=SEED)
    for camera in VIDEO_CAMERAS:
        env.render_frame(0, camera=camera, size=(64, 64))
    np.testing.assert_array_equal(env.render_images(np.ones(1, dtype=bool)), before["image"])
    assert "overview" not in env.contract.cameras
