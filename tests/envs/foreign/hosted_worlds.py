"""A small world for hosts, which run it in the interpreter of the tests."""

import sys
from pathlib import Path

WORLD = '''
import os, time
import gymnasium as gym
import numpy as np
from gymnasium import spaces

class World(gym.Env):
    """Counts its steps. Some seeds are trouble at the third step, and some of them only once."""
    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(self, render_mode=None, marks=""):
        self.observation_space = spaces.Dict(
            count=spaces.Box(-np.inf, np.inf, (2,), np.float64), eye=spaces.Box(0, 255, (8, 8, 1), np.uint8)
        )
        self.action_space = spaces.Box(-1, 1, (1,), np.float64)
        self.render_mode, self.marks = render_mode, marks

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed, self.count, self.offset, self.steps = seed, 0.0, self.np_random.normal(), 0
        return self.seen(), {"instruction": f"count from {self.offset:.3f}"}

    def step(self, action):
        self.steps += 1
        if self.steps == 3:
            self.trouble()
        self.count += 1 + 0.1 * float(action[0])
        return self.seen(), self.count, False, self.count > 9, {"high": self.count > 4}

    def trouble(self):
        if self.marks:
            mark = os.path.join(self.marks, str(self.seed))
            if os.path.exists(mark):
                return
            open(mark, "w").close()
        if self.seed == 13:
            raise OSError("no licence")
        if self.seed == 14:
            os._exit(3)
        if self.seed == 15:
            time.sleep(1000)
        if self.seed == 16:
            import ctypes
            ctypes.PyDLL(None).sleep(1000)  # holds the interpreter

    def seen(self):
        eye = np.full((8, 8, 1), int(self.count) + 1, np.uint8)
        eye[0] = 9
        return {"count": np.array([self.count, self.offset]), "eye": eye}

    def render(self):
        return np.full((10, 20, 3), 200, np.uint8)

class Half:
    """A policy that needs the observation as the world gave it."""

    def reset(self, seed, instruction):
        self.seed, self.instruction = seed, instruction

    def act(self, observation):
        assert observation["count"].dtype == np.float64
        if self.seed == 20:
            raise ValueError("no idea")
        return [0.5 if self.instruction else -1.0]

def unhappy():
    raise RuntimeError("needs a display")
'''
CHOICES = "success=info:high&max_episode_steps=12"
NAME = f"hosted_world:World?{CHOICES}"


def write_world(folder: Path, monkeypatch) -> None:
    """Let hosts of this interpreter, and this process, import `hosted_world`."""
    (folder / "hosted_world.py").write_text(WORLD)
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{Path(__file__).resolve().parents[3]}")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("SIMSCALE_ENV_PYTHON", sys.executable)
