"""The video profile: for people, beside the observation profile and without influence on it."""

import gymnasium as gym
import numpy as np
import pytest

from envs import find_environment
from envs.slots import Start
from envs.tabletop import rendering
from envs.tabletop.names import CAMERAS, FILM_CAMERAS, OVERVIEW, REACH

SEED = 3_000_000_100
HUES = {"red": (-1, 20), "goal": (35, 60), "green": (110, 170), "blue": (205, 250)}


@pytest.fixture
def begin():
    """Returns a function that makes slots with running episodes."""
    made = []

    def make(name, num_slots, cameras=(), size=(48, 48)):
        registration = find_environment(name)
        needs = registration.offer().needs(cameras=dict.fromkeys(cameras, size))
        made.append(registration.make(num_slots, needs, True, None))
        made[-1].reset(np.arange(num_slots), [Start(SEED + slot) for slot in range(num_slots)])
        return made[-1]

    yield make
    for env in made:
        env.close()


def saturated(frame, low, high):
    """Returns how many pixels have a hue [degrees] between `low` and `high` and are no shade of grey."""
    red, green, blue = np.moveaxis(frame.astype(float), -1, 0)
    hue = np.degrees(np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)) % 360
    strong = (frame.max(axis=-1).astype(int) - frame.min(axis=-1)) > 90
    return int((strong & (hue >= low) & (hue < high)).sum())


def test_the_overview_shows_cubes_and_goal_wherever_they_lie(begin):
    env = begin("pick-place-language", 6)
    for slot in range(6):
        frame = env.frame(slot, OVERVIEW, (160, 160))
        found = {name: saturated(frame, *hues) for name, hues in HUES.items()}
        assert min(found.values()) >= 8, found
        edge = np.concatenate([frame[0], frame[-1], frame[:, 0], frame[:, -1]])[None]
        assert [saturated(edge, *hues) for hues in HUES.values()] == [0] * 4


def test_the_overview_looks_from_elsewhere_and_shadows_fall(begin):
    env = begin("pick-place", 1, cameras=("front",), size=(64, 64))
    frames = {camera: env.frame(0, camera, (64, 64)).astype(int) for camera in FILM_CAMERAS}
    for camera in CAMERAS:
        assert np.abs(frames[OVERVIEW] - frames[camera]).mean() > 10
    observed = env.observe(np.arange(1), np.ones(1, dtype=bool))["front"][0].astype(int)
    darker = (observed - frames["front"]).min(axis=-1) > 20
    assert 0.02 < darker.mean() < 0.5


def test_shadows_have_soft_edges_and_the_light_stays_as_bright(begin, monkeypatch):
    env = begin("pick-place", 1)
    soft = env.frame(0, OVERVIEW, (240, 240)).astype(int)
    monkeypatch.setattr(rendering, "_soften_shadows", lambda scene: None)
    hard = env.frame(0, OVERVIEW, (240, 240)).astype(int)
    assert abs((soft - hard).mean()) < 0.2
    lighter, darker = ((sign * (soft - hard)).min(axis=-1) > 3 for sign in (1, -1))
    assert 0.001 < lighter.mean() < 0.05  # within the hard edge
    assert 0.001 < darker.mean() < 0.05  # outside of it


def test_filming_leaves_what_policies_see_as_it_is(begin):
    env = begin("pick-place", 1, cameras=CAMERAS)
    before = env.observe(np.arange(1), np.ones(1, dtype=bool))
    for camera in FILM_CAMERAS:
        env.frame(0, camera, (64, 64))
    after = env.observe(np.arange(1), np.ones(1, dtype=bool))
    for camera in CAMERAS:
        np.testing.assert_array_equal(before[camera], after[camera])
    assert OVERVIEW not in env.spec.cameras


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*You are trying to use 'human' rendering:UserWarning")
def test_the_wrapper_of_gymnasium_shows_the_picture_in_a_window(monkeypatch):
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = gym.make(f"envs:{REACH}", render_mode="human")
    env.reset(seed=SEED)
    env.step(np.ones(4))
    shown = pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)
    np.testing.assert_array_equal(shown, env.unwrapped.render())
    env.close()
