"""Digests of scenes and of the observation profile: frozen, and sensitive to changes."""

import copy

from envs import environment_names, find_environment
from envs.tabletop.digests import profile_digest, scene_digest
from envs.tabletop.simulation import load_scene

FROZEN_SCENES = {
    "SimScale/Reach-v0": "066634af7a24b6a1",
    "SimScale/PickPlace-v0": "ea6e710571db284c",
    "SimScale/PickPlaceLanguage-v0": "7ee71fb45f0c26f3",
    "SimScale/Stack-v0": "2542d611ba9fc120",
    "SimScale/ReachGoal-v0": "066634af7a24b6a1",
    "SimScale/PickPlaceGoal-v0": "ea6e710571db284c",
}
FROZEN_PROFILE = "67bb44733decefca"


def test_scene_digests_are_frozen():
    """Datasets and checkpoints name these; another scene needs another environment version."""
    digests = {env_id: find_environment(env_id).offer().digest for env_id in environment_names().values()}
    assert digests == FROZEN_SCENES


def test_the_observation_profile_is_frozen_and_the_same_everywhere():
    profiles = {find_environment(name).offer().render_profile for name in environment_names()}
    assert profiles == {FROZEN_PROFILE}


def test_another_light_is_another_profile_and_another_mass_another_scene():
    model = copy.deepcopy(load_scene("pick_place"))
    scene, profile = scene_digest(model), profile_digest(model)
    model.vis.headlight.ambient[0] += 0.01
    assert (scene_digest(model) == scene, profile_digest(model) == profile) == (True, False)
    model.body_mass[5] *= 1.001
    assert scene_digest(model) != scene
