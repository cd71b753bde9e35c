"""`python -m envs check NAME`: a report of the promises that an environment keeps."""

import sys

import pytest

import envs.__main__

WORLD = """
import gymnasium as gym
import numpy as np

class Deaf(gym.Env):
    def __init__(self):
        self.observation_space = gym.spaces.Box(-9, 9, (1,), np.float32)
        self.action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        return np.float32([1]), {}

    def step(self, action):
        return action[:1], 0.0, False, False, {}

class Blank(Deaf):
    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, render_mode=None):
        super().__init__()
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super(Deaf, self).reset(seed=seed)
        return self.np_random.uniform(size=1).astype(np.float32), {}

    def render(self):
        raise ImportError("no painter")

class Broken(Deaf):
    def step(self, action):
        raise OSError("no licence")
"""
RULES = ["--success", "terminated", "--max-episode-steps", "5"]


@pytest.fixture(autouse=True)
def world(tmp_path, monkeypatch):
    (tmp_path / "deaf_world.py").write_text(WORLD)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("deaf_world", None)


def test_a_sound_environment_keeps_all_promises(capsys):
    assert envs.__main__.main(["check", "gym:Reacher-v5", "--success", "return>=-5"]) == 0
    said = capsys.readouterr().out
    assert "repeats      exactly" in said
    assert "kept         different seeds give different episodes" in said
    assert said.endswith("all promises are kept\n")
    assert len(set(said.splitlines())) == len(said.splitlines())


@pytest.mark.parametrize(("name", "problem"), [
    ("deaf_world:Deaf", "broken promise: different seeds give different episodes"),
    ("deaf_world:Broken", "the environment raised OSError: no licence"),
])  # fmt: skip
def test_a_broken_promise_is_named(name, problem, capsys):
    assert envs.__main__.main(["check", name, *RULES]) == 1
    assert problem in capsys.readouterr().out.splitlines()[-1]


def test_an_environment_that_cannot_be_drawn_keeps_its_promises(capsys):
    assert envs.__main__.main(["check", "deaf_world:Blank", *RULES]) == 0
    said = capsys.readouterr().out
    assert "films        none; render() raised ImportError: no painter" in said
    assert "a frame of camera" not in said


def test_what_cannot_be_evaluated_is_a_mistake(capsys):
    assert envs.__main__.main(["check", "gym:CartPole-v1", "--success", "terminated"]) == 2
    assert "expected actions in a Box" in capsys.readouterr().err


def test_every_task_of_a_suite_is_checked(capsys):
    assert envs.__main__.main(["check", "deaf_world:Deaf,deaf_world:Broken", *RULES]) == 1
    said = capsys.readouterr().out
    assert [line.partition("?")[0] for line in said.splitlines() if not line.startswith((" ", "all"))] == [
        "deaf_world:Deaf",
        "deaf_world:Deaf",
        "deaf_world:Broken",
    ]
