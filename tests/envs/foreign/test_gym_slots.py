"""Several single Gymnasium environments as slots."""

import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from envs.foreign.gymnasium_env import register_factory
from envs.foreign.pictures import fitted
from envs.registration import find_environment
from envs.slots import SlotFault, Start, check_slots
from simscaleai.errors import SimScaleError


class Counter(gym.Env):
    """Counts its steps; seed 13 gives NaN after two steps."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    made = 0

    def __init__(self, render_mode=None):
        self.observation_space = spaces.Dict(
            count=spaces.Box(-np.inf, np.inf, (2,), np.float64), eye=spaces.Box(0, 255, (8, 8, 1), np.uint8)
        )
        self.action_space = spaces.Box(-1, 1, (1,), np.float32)
        self.render_mode = render_mode
        Counter.made += 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed, self.count, self.offset = seed, 0.0, self.np_random.normal()
        return self.observation(), {"instruction": f"count from {self.offset:.3f}"}

    def step(self, action):
        self.count += 1 + 0.1 * float(action[0])
        return self.observation(), self.count, False, self.count > 9, {"high": self.count > 4}

    def observation(self):
        value = np.nan if self.seed == 13 and self.count > 1.5 else self.count
        return {"count": np.array([value, self.offset]), "eye": np.full((8, 8, 1), int(self.count) + 1, np.uint8)}

    def render(self):
        return np.full((10, 20, 3), 200, np.uint8)


@pytest.fixture
def counter():
    return register_factory("counter", Counter)


def chosen(registration, query="success=info:high&max_episode_steps=12"):
    from envs.choices import Choices

    return registration.choose(Choices.parse(query))


def everything(registration, slots=3, **kwargs):
    spec = registration.offer()
    needs = spec.needs(*spec.vectors, cameras=dict(spec.cameras), instruction=True)
    return registration.make(slots, needs, kwargs.get("ends", True), kwargs.get("limit"))


def test_it_keeps_the_promises_of_slots(counter):
    env = everything(chosen(counter))
    check_slots(env)
    check_slots(env, seeds=(5, 6))
    env.close()


def test_the_specification_comes_from_the_environment(counter):
    spec = chosen(counter).offer()
    assert spec.vectors["count"].size == 2
    assert spec.cameras == {"eye": (8, 8)}
    assert spec.film_cameras == ("render",)
    assert spec.has_instructions
    assert (spec.max_episode_steps, spec.control_hz) == (12, 30.0)


def test_an_environment_is_made_when_its_slot_is_first_used(counter):
    registration = chosen(counter)
    registration.offer()
    before = Counter.made
    env = everything(registration, slots=100)
    begun = env.reset(np.array([7]), [Start(0)])
    assert Counter.made == before + 1
    assert begun[0].instruction.startswith("count from")


def test_what_is_broken_is_a_fault_of_its_slot_alone(counter):
    env = everything(chosen(counter))
    env.reset(np.array([0, 1]), [Start(1), Start(13)])
    env.step(np.array([0, 1]), np.zeros((2, 1), np.float32))
    with pytest.raises(SlotFault, match="not finite") as fault:
        env.step(np.array([0, 1]), np.zeros((2, 1), np.float32))
    assert fault.value.slots == (1,)


def test_a_success_key_that_is_missing_is_a_mistake_of_the_user(counter):
    env = everything(chosen(counter, "success=info:low&max_episode_steps=1"))
    env.reset(np.array([0]), [Start(1)])
    with pytest.raises(SimScaleError, match="info never had the key 'low'"):
        env.step(np.array([0]), np.zeros((1, 1), np.float32))


def test_a_picture_keeps_its_proportions():
    picture = fitted(np.full((10, 20, 3), 200, np.uint8), (30, 40))
    assert picture.shape == (30, 40, 3)
    assert (picture[:5] == 0).all()
    assert (picture[5:25] == 200).all()
    assert (picture[25:] == 0).all()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a package whose entry points make a `gymnasium.Env`."""
    source = "import gymnasium as gym\n\ndef pendulum(g=10.0):\n    return gym.make('Pendulum-v1', g=g)\n"
    (tmp_path / "swinging.py").write_text(source)
    info = tmp_path / "swinging-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: swinging\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[simscaleai.envs]\nswing = swinging:pendulum\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("swinging", None)


def test_another_package_may_offer_a_function_that_makes_a_gymnasium_env(package):
    assert find_environment("swing").name == "swing"
    with pytest.raises(SimScaleError, match="does not say what a success is"):
        find_environment("swing").offer()
    spec = find_environment("swing?success=return>=-300&g=9.0").offer()
    assert spec.max_episode_steps == 200
    assert spec.digest != find_environment("swing?success=return>=-300").offer().digest
