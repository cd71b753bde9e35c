"""An agent of Stable-Baselines3. `host.py` loads this file where that is installed.

The file of an agent holds pickles, which can run code. So it is opened in the host alone.
"""

from __future__ import annotations

import importlib
import json
import pickle
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any, Mapping

import numpy as np

answering: Any = importlib.import_module("answering")

PACKAGES = ("stable-baselines3", "torch", "gymnasium", "numpy")
"""Packages whose versions decide the actions."""

ALGORITHMS = {"sac": "SAC", "td3": "TD3", "dqn": "DQN"}
"""Module of the network in `stable_baselines3` to the class that loads it; TD3 loads DDPG, too."""

NO_REPLAY_BUFFER: Mapping[str, Any] = {"replay_buffer_class": None, "replay_buffer_kwargs": {}, "buffer_size": 1}
"""Replaces the buffer for training: that of HER needs the environment, and a usual one takes gigabytes."""

WHOLE = ""
"""Name of the observation of an agent that does not take a dictionary."""


class Agent:
    """One agent. It has no memory."""

    def __init__(self, path: str, device: str, deterministic: bool, vec_normalize: str) -> None:
        """Load the agent in the file `path`.

        Raises:
            Mistake: If it cannot be loaded, or its actions or observations are none of arrays.
        """
        self._deterministic = deterministic
        algorithm, library = _algorithm(path), importlib.import_module("stable_baselines3")
        answering.check_device(device)
        try:
            self._model = getattr(library, algorithm).load(path, device=device, custom_objects=NO_REPLAY_BUFFER)
        except Exception as error:
            raise answering.Mistake(f"it cannot be loaded: {answering.reason_text(error)}") from error
        self._normalised = _load_normalisation(vec_normalize)
        space = self._model.observation_space
        self._spaces = dict(getattr(space, "spaces", None) or {WHOLE: space})
        for each in (self._model.action_space, *self._spaces.values()):
            if type(each).__name__ != "Box":
                raise answering.Mistake(f"expected observations and actions in a Box, the agent has {each}")

    def facts(self) -> dict[str, Any]:
        """Return what the agent takes and gives."""
        actions = self._model.action_space
        return {
            "inputs": {key: [list(space.shape), str(space.dtype)] for key, space in self._spaces.items()},
            "low": actions.low.astype(float).ravel().tolist(),
            "high": actions.high.astype(float).ravel().tolist(),
            "horizon": 1,
        }

    def begin(self, slot: int, instruction: str) -> None:
        """Draw the noise of an agent that keeps one through an episode (generalised state-dependent exploration)."""
        if not self._deterministic and getattr(self._model, "use_sde", False):
            self._model.policy.reset_noise()

    def act(self, slot: int, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the next action, float32 (1, A)."""
        seen: Any = {key: self._shaped(key, values) for key, values in observation.items()}
        if WHOLE in seen:
            seen = seen[WHOLE]
        if self._normalised is not None:
            seen = self._normalised.normalize_obs(seen)
        action, _ = self._model.predict(seen, deterministic=self._deterministic)
        return np.asarray(action, dtype=np.float32).reshape(1, -1)

    def _shaped(self, key: str, values: np.ndarray) -> np.ndarray:
        space = self._spaces[key]
        if values.ndim == 3:  # an image; the library itself puts the channels where the network wants them
            return values
        return values.reshape(space.shape).astype(space.dtype)


def load(path: str, options: Mapping[str, Any]) -> Agent:
    """Return the agent in the file `path`."""
    return Agent(path, **options)


def _algorithm(path: str) -> str:
    """Return the name of the class that loads the agent. The file says it only by the module of its network."""
    try:
        with zipfile.ZipFile(path) as archive:
            data = json.loads(archive.read("data"))
        module = str(data["policy_class"]["__module__"])
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise answering.Mistake("it is no file that Stable-Baselines3 has saved") from error
    if not module.startswith("stable_baselines3."):
        raise answering.Mistake(f"its network is of {module}; agents of PPO, A2C, SAC, TD3 and DDPG are known")
    usual = "PPO" if "n_epochs" in data else "A2C"
    return ALGORITHMS.get(module.split(".")[1], usual)


def _load_normalisation(path: str) -> Any:
    if not path:
        return None
    try:
        with Path(path).open("rb") as file:
            normalised = pickle.load(file)  # noqa: S301 (like the agent: the user's own file, in the host alone)
    except Exception as error:
        raise answering.Mistake(f"{path} cannot be loaded: {answering.reason_text(error)}") from error
    if not hasattr(normalised, "normalize_obs"):
        raise answering.Mistake(f"expected a VecNormalize in {path}, got {type(normalised).__name__}")
    return normalised


# The check of an installation


def check() -> list[tuple[str, str]]:
    """Save a PPO of random weights, load it, and ask it; return what was found."""
    gym: Any = importlib.import_module("gymnasium")
    library: Any = importlib.import_module("stable_baselines3")
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/agent.zip"
        library.PPO("MlpPolicy", gym.make("Pendulum-v1"), device="cpu", seed=0).save(path)
        agent = load(path, {"device": "cpu", "deterministic": True, "vec_normalize": ""})
    observation = {WHOLE: np.zeros(3, dtype=np.float32)}
    agent.act(0, observation)
    begin = time.perf_counter()
    agent.act(0, observation)
    seconds = time.perf_counter() - begin
    return [("Policy", f"a random PPO was saved, loaded and asked: an action in {1000 * seconds:.1f} ms")]
