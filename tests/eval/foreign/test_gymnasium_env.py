"""A user's Gymnasium environment and policy, both files on disk, go through all commands by their names alone."""

import json
import os
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import simscaleai.train
from eval import collect, compare, record, rollout
from eval.report import __main__ as report
from eval.runs.log_file import read_results
from eval.runs.record import RunRecord
from simscaleai.data import Dataset

WORLD = '''
import gymnasium as gym
import numpy as np
from gymnasium import spaces


class OddWorld(gym.Env):
    """Moves a point with 3 numbers per action; odd names, float64, a nested Dict, an image."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 12}

    def __init__(self, reach=0.2, render_mode=None):
        box = spaces.Box(-10.0, 10.0, (3,), np.float64)
        self.observation_space = spaces.Dict(
            {
                "Robot Arm": spaces.Dict({"tip position (m)": box, "joint/angle": spaces.Box(-10, 10, (), np.float64)}),
                "eye": spaces.Box(0, 255, (16, 16, 3), np.uint8),
            }
        )
        self.action_space = spaces.Box(-0.5, 0.5, (3, 1), np.float64)
        self.reach, self.render_mode = reach, render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.point = self.np_random.uniform(-1, 1, 3)
        return self._observation(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.point = self.point + action[:, 0]
        solved = bool(np.linalg.norm(self.point) < self.reach)
        return self._observation(), -float(np.linalg.norm(self.point)), False, False, {"solved!": solved}

    def render(self):
        return np.repeat(np.repeat(self._observation()["eye"], 4, 0), 4, 1)

    def _observation(self):
        image = np.zeros((16, 16, 3), np.uint8)
        image[:] = (127 + 60 * np.clip(self.point, -1, 1)).astype(np.uint8)
        image[0, 0] = 255
        arm = {"tip position (m)": self.point.copy(), "joint/angle": np.float64(self.point.sum())}
        return {"Robot Arm": arm, "eye": image}


def make(reach=0.2, render_mode=None):
    return OddWorld(reach, render_mode)


def act(observation):
    return -observation["Robot Arm.tip position (m)"]


act.needs = {"Robot Arm.tip position (m)": None}
'''

ENV = ["--env", "odd_world.py:make", "--success", "info:solved!", "--max-episode-steps", "20"]
SOLVER = ["--model", "odd_world.py:act", *ENV]
ROOT = str(Path(__file__).resolve().parents[3])


@pytest.fixture(autouse=True)
def workdir(tmp_path, monkeypatch):
    from envs.foreign.gymnasium_env import find_gymnasium_env

    (tmp_path / "odd_world.py").write_text(WORLD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr(sys, "path", [*sys.path])
    find_gymnasium_env.cache_clear()
    yield tmp_path
    sys.modules.pop("odd_world", None)


def plain_loop(seed, act, make, limit):
    """Return success and steps of one episode, with nothing of this project."""
    env = make()
    observation, _ = env.reset(seed=seed)
    for step in range(1, limit + 1):
        observation, _, terminated, truncated, info = env.step(act(observation))
        if info.get("solved!") or terminated or truncated:
            return bool(info.get("solved!")), step
    return False, limit


def test_the_same_episodes_as_a_plain_loop_for_every_shape_of_the_run():
    lines = []
    for name, shape in {"one": ["--num-envs", "1"], "many": [], "two": ["--workers", "2", "--num-envs", "2"]}.items():
        assert rollout.main([*SOLVER, "--env-option", "reach=0.1", "--episodes", "9", "--output", name, *shape]) == 0
        lines.append(sorted(Path(name, "episodes.jsonl").read_text().splitlines()))
    assert lines[0] == lines[1] == lines[2]

    import odd_world

    def act(observation):
        point = observation["Robot Arm"]["tip position (m)"].astype(np.float32)
        return np.clip(-point, -0.5, 0.5).astype(np.float64).reshape(3, 1)

    expected = [plain_loop(seed, act, lambda: odd_world.make(reach=0.1), 20) for seed in range(9)]
    assert [(each.success_once, each.steps) for each in read_results(Path("one/episodes.jsonl"))] == expected


def test_a_run_that_was_cut_short_is_resumed_to_the_same_lines(capsys):
    flags = [*SOLVER, "--episodes", "6", "--output", "run"]
    assert rollout.main(flags) == 0
    whole = Path("run/episodes.jsonl").read_text()
    Path("run/episodes.jsonl").write_text("".join(whole.splitlines(keepends=True)[:2]))
    assert rollout.main([*flags, "--resume"]) == 0
    assert sorted(Path("run/episodes.jsonl").read_text().splitlines()) == sorted(whole.splitlines())
    capsys.readouterr()
    assert rollout.main([*flags, "--resume", "--env-option", "reach=0.3"]) == 2
    assert "began under other conditions" in capsys.readouterr().err


def test_the_whole_loop(capsys):
    assert collect.main([*SOLVER, "--episodes", "30", "--output", "data", "--quiet"]) == 0
    needs = Dataset(Path("data")).needs
    assert needs.vectors["Robot Arm.tip position (m)"].size == 3
    assert needs.cameras == {"eye": (16, 16)}
    assert collect.main(["--verify", "data", "--quiet"]) == 0
    model = ["--model-arguments", "hidden_dim=64", "--no-image", "--device", "cpu"]
    training = ["--steps", "300", "--learning-rate", "0.003", "--warmup-steps", "10", "--ema-decay", "0.9"]
    assert simscaleai.train.main(["--model", "bc", "--dataset", "data", "--output", "bc", *model, *training]) == 0
    assert rollout.main(["--model", "./bc", *ENV, "--episodes", "12", "--output", "trained"]) == 0
    assert RunRecord.read(Path("trained")).summary.successes >= 8
    assert rollout.main(["--model", "zero", *ENV, "--episodes", "12", "--output", "zero", "--video", "1"]) == 0
    assert compare.main(["zero", "trained"]) == 0
    assert report.main(["zero", "trained"]) == 0
    assert "odd_world.py:make" in Path("zero/report.html").read_text()
    assert record.main([*SOLVER, "--seeds", "0", "--output", "film.gif"]) == 0
    capsys.readouterr()
    assert rollout.main(["--model", "./bc", "--env", "odd_world.py:make", "--success", "terminated"]) == 2
    assert "--max-episode-steps" in capsys.readouterr().err


def test_a_replay_command_repeats_the_episode(capsys):
    assert rollout.main([*SOLVER, "--episodes", "2", "--output", "run", "--json"]) == 0
    command = json.loads(capsys.readouterr().out)["replay"]
    import shlex

    words = shlex.split(command)[3:]
    assert rollout.main([*words, "--output", "again"]) == 0
    assert read_results(Path("again/episodes.jsonl"))[0].digest == read_results(Path("run/episodes.jsonl"))[0].digest


def test_an_id_may_name_the_module_that_registers_it(workdir):
    (workdir / "odd_ids.py").write_text(
        "import gymnasium\ngymnasium.register('Odd/World-v0', entry_point='odd_world:OddWorld', max_episode_steps=7)\n"
    )
    sys.path.append(str(workdir))
    arguments = ["--model", "random", "--env", "gym:odd_ids:Odd/World-v0", "--success", "info:solved!", "--quiet"]
    assert rollout.main([*arguments, "--episodes", "1", "--output", "run"]) == 0
    assert RunRecord.read(Path("run")).environment.max_episode_steps == 7


MISTAKES = """
WORDS = "no environment"

class OldReset(OddWorld):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]

class OldStep(OddWorld):
    def step(self, action):
        return super().step(action)[:-1]

class Closed(OddWorld):
    def reset(self, *, seed=None, options=None):
        raise OSError("no licence")

class Bare(gym.Env):
    pass
"""


@pytest.mark.parametrize(("words", "message"), [
    (["--env", "odd_world.py:make"], "does not say what a success is; name it with --success: info:KEY, terminated, or "
     "return>=NUMBER (its info has info:solved!)"),
    (["--env", "odd_world.py:make", "--success", "solved"], "expected --success as info:KEY, terminated, or return>="),
    (["--env", "odd_world.py:make", "--success", "terminated"], "has no time limit; give one with --max-episode-steps"),
    ([*ENV[:2], "--success", "info:done", "--max-episode-steps", "3"], "info never had the key 'done' in an episode"),
    ([*ENV, "--env-option", "reech=1"], "unexpected keyword argument 'reech'"),
    ([*ENV, "--env-option", "reach"], "expected --env-option NAME=VALUE"),
    ([*ENV[:-1], "0"], "expected a time limit of at least 1"),
    (["--env", "odd_world.py:mak", *ENV[2:]], "no attribute 'mak'"),
    (["--env", "no_world.py:make", *ENV[2:]], "no file"),
    (["--env", "odd_world.py:WORDS", *ENV[2:]], "expected a callable that returns a gymnasium.Env"),
    (["--env", "builtins:dict", *ENV[2:]], "expected a gymnasium.Env from 'builtins:dict', got dict, which"),
    (["--env", "gym:Pendulun-v1", *ENV[2:]], "Gymnasium has no environment 'Pendulun-v1': Environment `Pendulun` "
     "doesn't exist. Did you mean: `Pendulum`?\n"),
    (["--env", "gym:no_package:World-v0", *ENV[2:]], "No module named 'no_package'"),
    (["--env", "gym:Unheard/World-v0", *ENV[2:]], "gym:MODULE:Unheard/World-v0 imports the module that registers it."),
    (["--env", "Pendulum-v1", *ENV[2:]], "gym:ID, gym:module:ID, module:function, file.py:function."),
    (["--env", "odd_world.py:OldReset", *ENV[2:]], "evaluated: expected reset() to return (observation, info) with"),
    (["--env", "odd_world.py:OldStep", *ENV[2:]], "expected step() to return (observation, reward, terminated, "),
    (["--env", "odd_world.py:Closed", *ENV[2:]], "cannot be evaluated: OSError: no licence ("),
    (["--env", "odd_world.py:Bare", *ENV[2:]], "got Bare, which has no observation_space, action_space\n"),
    (["--env", "gym:CartPole-v1", "--success", "terminated"], "expected actions in a Box, got Discrete"),
    (["--env", "reach", "--success", "terminated"], "has its own success rule and time limit"),
])  # fmt: skip
def test_a_mistake_is_one_line_and_nothing_is_written(words, message, capsys, workdir):
    with (workdir / "odd_world.py").open("a") as file:
        file.write(MISTAKES)
    assert rollout.main(["--model", "random", *words, "--episodes", "2", "--quiet"]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not list(Path().glob("runs/*"))


@pytest.mark.parametrize(("env_id", "success", "limit"), [
    ("Pendulum-v1", "return>=-900", 200),
    ("InvertedPendulum-v5", "return>=20", 40),
    ("Reacher-v5", "return>=-40", 50),
])  # fmt: skip
def test_environments_of_gymnasium_give_the_successes_of_a_plain_loop(env_id, success, limit, workdir):
    (workdir / "gain.py").write_text(
        "import numpy as np\n\n\ndef act(observation):\n    return np.tanh(observation['state'][:SIZE] * 3)\n".replace(
            "SIZE", "2" if env_id.startswith("Reacher") else "1"
        )
    )
    flags = ["--env", f"gym:{env_id}", "--success", success, "--max-episode-steps", str(limit)]
    assert rollout.main(["--model", "gain.py:act", *flags, "--episodes", "12", "--output", "run"]) == 0
    sys.modules.pop("gain")
    size, least = (2 if env_id.startswith("Reacher") else 1), float(success.partition("=")[2])
    env, expected = gym.make(env_id, max_episode_steps=limit), []
    for seed in range(12):
        observation, _ = env.reset(seed=seed)
        total, ended = 0.0, False
        while not ended:
            action = np.tanh(observation[:size].astype(np.float32) * 3)
            action = np.clip(action, env.action_space.low, env.action_space.high)
            observation, reward, terminated, truncated, _ = env.step(action)
            total, ended = total + float(reward), terminated or truncated
        expected.append((total >= least, total))
    found = [(each.status == "success", each.return_) for each in read_results(Path("run/episodes.jsonl"))]
    assert found == expected
    assert len({success for success, _ in expected}) == 2 or env_id == "Reacher-v5"


def test_an_observation_outside_of_its_space_is_an_error_of_the_environment_in_one_line(workdir, caplog):
    source = WORLD.replace("self.point = self.np_random", "self.first = seed\n        self.point = self.np_random")
    source = source.replace(
        "self.point = self.point + action[:, 0]", "self.point = self.point + 90 * (self.first == 2)"
    )
    (workdir / "leaving.py").write_text(source)
    flags = ["--env", "leaving.py:make", "--success", "info:solved!", "--max-episode-steps", "4", "--quiet"]
    assert rollout.main(["--model", "zero", *flags, "--episodes", "4", "--output", "run"]) == 1
    status = {each.seed: each.failure for each in read_results(Path("run/episodes.jsonl"))}
    assert status == {0: "time_limit", 1: "time_limit", 2: "environment_exception", 3: "time_limit"}
    (record,) = caplog.records
    assert "outside of its space: entry 0 of 'Robot Arm.joint/angle' is" in record.getMessage()
    assert record.exc_info is None
    sys.modules.pop("leaving", None)
