"""What every registered environment must keep, so that a new task is covered by its registration line."""

import copy
import inspect
import os
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs
from envs.digests import profile_digest, scene_digest
from envs.interface import CAMERAS, Contract, SimScaleError
from envs.registration import find_task
from envs.simulation import load_scene
from envs.vector_env import TaskVectorEnv

SEED = 3_000_000_000

FROZEN_SCENES = {
    "SimScale/Reach-v0": "066634af7a24b6a1",
    "SimScale/PickPlace-v0": "ea6e710571db284c",
    "SimScale/PickPlaceLanguage-v0": "7ee71fb45f0c26f3",
}


FROZEN_PROFILE = "67bb44733decefca"


def test_scene_digests_are_frozen():
    """Datasets and checkpoints name these; another scene needs another environment version."""
    digests = {env_id: envs.describe(env_id).environments[env_id] for env_id in FROZEN_SCENES}
    assert digests == FROZEN_SCENES


def test_the_observation_profile_is_frozen_and_the_same_everywhere(env_id):
    assert TaskVectorEnv(env_id, cameras=("front",)).contract.render_profile == FROZEN_PROFILE


def test_another_light_is_another_profile_and_another_mass_another_scene():
    model = copy.deepcopy(load_scene("pick_place"))
    scene, profile = scene_digest(model), profile_digest(model)
    model.vis.headlight.ambient[0] += 0.01
    assert (scene_digest(model) == scene, profile_digest(model) == profile) == (True, False)
    model.body_mass[5] *= 1.001
    assert scene_digest(model) != scene


def test_gymnasium_checker_finds_nothing(env_id):
    env = gym.make(f"envs:{env_id}", render_mode="rgb_array", cameras=("front",), image_size=(32, 32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


def test_observations_stay_in_their_space_under_extreme_actions(env_id):
    env = TaskVectorEnv(env_id, 4, environment_state=True)
    env.action_space.seed(0)
    observation, _ = env.reset(seed=SEED)
    for _ in range(60):
        assert env.observation_space.contains(observation)
        observation, *_ = env.step(np.sign(env.action_space.sample()).astype(np.float32))


def test_observations_of_two_calls_share_no_memory(env_id):
    env = TaskVectorEnv(env_id, 2, environment_state=True)
    first, first_info = env.reset(seed=SEED)
    kept = {key: rows.copy() for key, rows in first.items()}
    _, *_, info = env.step(np.ones((2, 4), dtype=np.float32))
    assert all((first[key] == kept[key]).all() for key in kept)
    assert not any(np.shares_memory(first_info[key], info[key]) for key in first_info)


def test_resets_are_seeded_and_varied(env_id):
    env = TaskVectorEnv(env_id, 3, environment_state=True)
    first, _ = env.reset(seed=[SEED, SEED + 1, SEED])
    again, _ = env.reset(seed=[SEED, SEED + 1, SEED])
    for key, rows in first.items():
        np.testing.assert_array_equal(rows, again[key])
        np.testing.assert_array_equal(rows[0], rows[2])
        assert (rows[0] != rows[1]).any()


def test_no_episode_begins_solved_or_failed(env_id):
    env = TaskVectorEnv(env_id, 100)
    _, info = env.reset(seed=SEED)
    assert not info["success"].any()
    assert set(info["stage"]) == {"start"}
    assert set(info["failure"]) == {""}


def test_time_limit_truncates_once(env_id):
    env = TaskVectorEnv(env_id, 1, max_episode_steps=3, autoreset_mode=gym.vector.AutoresetMode.DISABLED)
    env.reset(seed=SEED)
    ends = [env.step(np.zeros((1, 4), dtype=np.float32))[3][0] for _ in range(3)]
    assert ends == [False, False, True]


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_every_camera_sees_something_at_any_size(env_id, camera, size):
    env = TaskVectorEnv(env_id, 1, cameras=(camera,), image_size=size)
    image = env.reset(seed=SEED)[0]["image"][0]
    assert image.shape == (*size, 3)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20


def test_contract_survives_json_and_describes_the_instance(env_id):
    env = TaskVectorEnv(env_id, 1, cameras=("front", "wrist"), image_size=(40, 60))
    assert Contract.from_json(env.contract.to_json()) == env.contract
    assert env.contract.cameras == ("front", "wrist")
    assert env.contract.image_size == (40, 60)
    assert env.contract.environment_state is None


def test_the_contract_names_the_instances_own_time_limit():
    assert TaskVectorEnv("SimScale/Reach-v0", max_episode_steps=7).contract.max_episode_steps == 7


@pytest.mark.parametrize(
    "damage", [{"state": None}, {"state": [{"name": "x"}]}, {"image_size": 7}, {"cameras": 3}, {"surprise": 1}]
)
def test_a_damaged_contract_is_refused_in_one_line(damage):
    data = TaskVectorEnv("SimScale/Reach-v0", cameras=("front",)).contract.to_json() | damage
    with pytest.raises(SimScaleError) as error:
        Contract.from_json(data)
    assert "\n" not in str(error.value)


def test_layouts_cover_the_vectors(env_id):
    contract = envs.describe(env_id)
    observation, _ = TaskVectorEnv(env_id, 1, environment_state=True).reset(seed=SEED)
    for key, layout in contract.vectors.items():
        assert observation[key].shape == (1, layout.size)


def test_docstring_has_all_headings(env_id):
    text = inspect.getdoc(find_task(env_id))
    for heading in ("Action", "Observation", "Randomization", "Success", "Episode end", "Version history"):
        assert f"**{heading}.**" in text or f"**{heading}**" in text


def test_reach_state_has_the_published_size():
    assert envs.describe("SimScale/Reach-v0").state.size == 20


def test_state_only_use_loads_no_gl():
    code = (
        "import sys, gymnasium as gym\n"
        "env = gym.make('envs:SimScale/PickPlace-v0'); env.reset(seed=0)\n"
        "env.step(env.action_space.sample())\n"
        "print(any(name.startswith('OpenGL.GL') for name in sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_without_gl_images_are_refused_in_one_line():
    code = (
        "from envs.vector_env import TaskVectorEnv\n"
        "env = TaskVectorEnv('SimScale/Reach-v0', 1, cameras=('front',))\n"
        "try: env.reset(seed=0)\n"
        "except ValueError as error: print(type(error).__name__, str(error).count(chr(10)), 'libegl1' in str(error))"
    )
    environment = os.environ | {"MUJOCO_GL": "disabled"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert result.stdout.split() == ["SimScaleError", "0", "True"], result.stderr
