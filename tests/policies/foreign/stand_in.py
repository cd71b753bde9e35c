"""A stand-in for Stable-Baselines3, so that hosts start fast: an agent that multiplies the observation by a gain."""

import json
import zipfile

SOURCE = """
import json, os, sys, time, types, zipfile
import numpy as np

class Box:
    def __init__(self, low, high, shape, dtype="float32"):
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.low, self.high = np.full(shape, low, np.float32), np.full(shape, high, np.float32)

class Discrete:
    def __str__(self):
        return "Discrete(4)"

def space(words):
    if words == "discrete":
        return Discrete()
    if isinstance(words, dict):
        return types.SimpleNamespace(spaces={key: Box(*each) for key, each in words.items()})
    return Box(*words)

class PPO:
    use_sde = False

    @classmethod
    def load(cls, path, device, custom_objects=None):
        agent = cls()
        with zipfile.ZipFile(path) as archive:
            data = json.loads(archive.read("data"))
        agent.gain = data["gain"]
        agent.observation_space, agent.action_space = space(data["observation"]), space(data["action"])
        return agent

    def predict(self, observation, deterministic):
        if isinstance(observation, dict):
            observation = np.concatenate([np.ravel(observation[key]).astype(np.float32) for key in sorted(observation)])
        if observation[0] == 13:
            raise ArithmeticError("no number thirteen")
        if observation[0] == 14:
            os._exit(3)
        if observation[0] == 15:
            time.sleep(1000)
        if observation[0] == 16:
            return np.zeros(5), None
        if observation[0] == 17:
            return self.kept[: self.action_space.shape[0]], None
        self.kept = observation
        action = self.gain * observation[: self.action_space.shape[0]]
        return (action if deterministic else action + np.random.normal(size=action.shape)), None

A2C = SAC = TD3 = DQN = PPO
"""


def write_library(folder):
    """Write the stand-in below `folder`."""
    (folder / "stable_baselines3.py").write_text(SOURCE)


def write_agent(
    path, *, observation=(-9, 9, (3,)), action=(-1, 1, (2,)), module="stable_baselines3.common.policies", gain=0.5
):
    """Write an agent whose spaces are given by bounds and shape."""
    data = {
        "policy_class": {"__module__": module},
        "n_epochs": 4,
        "observation": observation,
        "action": action,
        "gain": gain,
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps(data))
        archive.writestr("policy.pth", "")
    return path
