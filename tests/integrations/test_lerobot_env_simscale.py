"""The plugin for LeRobot: its episodes are ours, its names those of an export."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from envs import environment_names
from eval.collect import CollectConfig, collect
from simscaleai.data import Dataset
from simscaleai.data.description import read_description
from simscaleai.data.lerobot.layout import FRAME_COLUMNS, lerobot_features
from simscaleai.errors import SimScaleError

SEED = 1_000_000_000
NO_INPUT = {*FRAME_COLUMNS, "executed_action"}


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demonstration") / "data"
    collect(CollectConfig(env="pick-place", episodes=1, image_size=32, output=folder, quiet=True))
    return folder


def make_vector_env(plugin, **options):
    config = plugin.SimScaleEnvConfig(**options)

    def make():
        return gym.make(config.gym_id, disable_env_checker=True, **config.gym_kwargs)

    return SyncVectorEnv([make], autoreset_mode=AutoresetMode.SAME_STEP)


def test_an_episode_is_the_one_of_our_dataset(lerobot_plugin, demonstration):
    dataset = Dataset(demonstration)
    arrays, record = dataset.episode(0), dataset.episodes[0]
    env = make_vector_env(lerobot_plugin, observation_height=32, observation_width=32)
    observation, _ = env.reset(seed=[SEED], options={"lerobot_new_rollout": True})
    assert env.call("task_description") == (record.metadata["instruction"],)
    for step, action in enumerate(arrays["action"]):
        assert (observation["agent_pos"][0] == arrays["observation.state"][step]).all()
        for camera, images in observation["pixels"].items():
            assert (images[0] == arrays[f"observation.images.{camera}"][step]).all()
        observation, _, terminated, truncated, info = env.step(action[None])
    assert (terminated[0], truncated[0]) == (True, False)
    assert info["final_info"]["is_success"].tolist() == [True]
    env.close()


def test_a_policy_finds_the_names_of_an_export(lerobot_plugin, demonstration):
    config = lerobot_plugin.SimScaleEnvConfig(observation_height=32, observation_width=32)
    exported = lerobot_features(read_description(demonstration).without_privileged())
    shapes = {config.features_map[key]: list(feature.shape) for key, feature in config.features.items()}
    inputs = {key: feature["shape"] for key, feature in exported.items() if key not in NO_INPUT}
    assert shapes == inputs
    assert config.fps == 20


def test_an_episode_without_success_ends_at_the_limit(lerobot_plugin):
    env = make_vector_env(lerobot_plugin, task="reach", cameras=[], episode_length=3)
    assert env.call("_max_episode_steps") == (3,)
    observation, _ = env.reset(seed=[0])
    assert "pixels" not in observation
    assert env.call("render")[0].std() > 0
    ended = [env.step(np.zeros((1, 4), np.float32)) for _ in range(3)]
    assert [bool(truncated[0]) for _, _, _, truncated, _ in ended] == [False, False, True]
    assert ended[-1][4]["final_info"]["is_success"].tolist() == [False]
    env.close()


def test_the_next_episode_without_a_seed_is_another_one(lerobot_plugin):
    env = make_vector_env(lerobot_plugin, task="reach", cameras=[])
    first, _ = env.reset(seed=[7])
    second, _ = env.reset()
    again, _ = env.reset(seed=[7])
    assert (first["agent_pos"] == again["agent_pos"]).all()
    assert (first["agent_pos"] != second["agent_pos"]).any()
    env.close()


@pytest.mark.parametrize("task", environment_names())
def test_every_task_can_be_filmed(lerobot_plugin, task):
    env = make_vector_env(lerobot_plugin, task=task, cameras=["wrist"], observation_height=24, observation_width=40)
    observation, _ = env.reset(seed=[1])
    assert observation["pixels"]["wrist"].shape == (1, 24, 40, 3)
    (frame,) = env.call("render")
    assert (frame == observation["pixels"]["wrist"][0]).all()
    assert frame.std() > 0
    env.close()


def test_mistakes_are_named(lerobot_plugin):
    with pytest.raises(SimScaleError, match="Did you mean 'pick-place'"):
        lerobot_plugin.SimScaleEnvConfig(task="pick-plac")
    with pytest.raises(SimScaleError, match="Did you mean 'front'"):
        lerobot_plugin.SimScaleEnvConfig(cameras=["frnt"])
    with pytest.raises(SimScaleError, match="expected one task, got a suite of 2"):
        make_vector_env(lerobot_plugin, task="reach,stack")
