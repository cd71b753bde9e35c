"""Environments in a process under another interpreter: the same episodes as here, and faults that cost one episode."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from envs.foreign.suites import find_suite
from envs.registration import find_environment
from envs.slots import SlotFault, Start, check_slots
from eval.rollout import main as rollout
from simscaleai.errors import SimScaleError
from simscaleai.hosting.interpreters import locked_version
from simscaleai.hosting.process import kill_busy_hosts
from tests.envs.foreign.hosted_worlds import CHOICES, NAME, write_world
from tests.waiting import is_running, kill_the_next_busy_host, wait_until

ONE = np.arange(1)
NO_ACTION = np.zeros((1, 1), np.float32)


@pytest.fixture(autouse=True)
def world(tmp_path, monkeypatch):
    write_world(tmp_path, monkeypatch)
    yield
    sys.modules.pop("hosted_world", None)


@pytest.fixture
def hosted():
    env = everything(find_environment(NAME))
    yield env
    env.close()


def everything(registration, slots=3):
    spec = registration.offer()
    return registration.make(slots, spec.needs(*spec.vectors, cameras=dict(spec.cameras)), True, None)


def run_into(env, seed):
    env.reset(ONE, [Start(seed)])
    for _ in range(3):
        env.step(ONE, NO_ACTION)


def episode(env, slots, seeds):
    """Return all that an episode gives in each slot."""
    begun = env.reset(slots, [Start(seed) for seed in seeds])
    given = [begun, env.state(slots)]
    for step in range(6):
        seen = env.observe(slots, np.arange(len(slots)) % 2 == 0)
        given += [(key, rows.dtype, rows.shape, rows.tobytes()) for key, rows in sorted(seen.items())]
        done = env.step(slots, np.full((len(slots), 1), step - 2, np.float32))
        given += [value.tobytes() if isinstance(value, np.ndarray) else list(value) for value in vars(done).values()]
        given += env.state(slots)
        if (done.terminated | done.truncated).any():
            break
    return given


def test_it_keeps_the_promises_of_slots(hosted):
    assert check_slots(hosted)


def test_it_gives_what_the_same_environment_gives_in_this_process(hosted, monkeypatch):
    monkeypatch.delenv("SIMSCALE_ENV_PYTHON")
    here = everything(find_environment(NAME))
    for name in ("vectors", "cameras", "action", "max_episode_steps", "success", "control_hz", "film_cameras"):
        assert getattr(hosted.spec, name) == getattr(here.spec, name), name
    for slots, seeds in ((np.array([0, 2]), (5, 6)), (np.array([1]), (7,)), (np.array([0, 1, 2]), (6, 5, 5))):
        assert episode(hosted, slots, seeds) == episode(here, slots, seeds)
    np.testing.assert_array_equal(hosted.frame(0, "render", (20, 40)), here.frame(0, "render", (20, 40)))
    here.close()


def test_an_exception_is_a_fault_of_its_slot_alone(hosted):
    hosted.reset(np.array([0, 1]), [Start(1), Start(13)])
    for _ in range(2):
        hosted.step(np.array([0, 1]), np.zeros((2, 1), np.float32))
    with pytest.raises(SlotFault, match="no licence") as fault:
        hosted.step(np.array([0, 1]), np.zeros((2, 1), np.float32))
    assert fault.value.slots == (1,)
    run_into(hosted, 1)


def test_a_host_that_exits_is_a_fault_of_all_slots_and_the_next_episode_runs_in_a_new_one(hosted):
    before = episode(hosted, ONE, (5,))
    with pytest.raises(SlotFault, match="exit code 3") as fault:
        run_into(hosted, 14)
    assert fault.value.slots == (0, 1, 2)
    with pytest.raises(SlotFault):
        hosted.step(ONE, NO_ACTION)
    assert episode(hosted, ONE, (5,)) == before


def test_a_host_that_hangs_can_be_killed(hosted):
    assert not kill_busy_hosts()
    hosted.reset(ONE, [Start(15)])
    for _ in range(2):
        hosted.step(ONE, NO_ACTION)
    kill_the_next_busy_host()
    with pytest.raises(SlotFault, match="SIGKILL"):
        hosted.step(ONE, NO_ACTION)
    run_into(hosted, 1)


@pytest.mark.parametrize("seed", [1, 15, 16])
def test_no_host_outlives_a_process_that_is_killed(seed, tmp_path):
    code = f"""
import os, sys
from envs.registration import find_environment
from tests.envs.foreign.test_remote import everything, run_into
env = everything(find_environment({NAME!r}))
print(env._host._process.pid, flush=True)
run_into(env, {seed})
print("ran", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        host = int(parent.stdout.readline())
        time.sleep(0.5)
        os.kill(host, 0)
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_running(host))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (f"hosted_world:Nothing?{CHOICES}", "cannot import 'hosted_world:Nothing'"),
        (f"no_such_module:World?{CHOICES}", "No module named 'no_such_module'"),
        (f"hosted_world:unhappy?{CHOICES}", "needs a display"),
        ("hosted_world:World?max_episode_steps=5", "name it with --success"),
        ("hosted_world:World?success=terminated", "--max-episode-steps"),
        (f"gym:NoSuch-v9?{CHOICES}", "NoSuch"),
    ],
)
def test_a_mistake_of_the_user_is_one_line(name, problem):
    with pytest.raises(SimScaleError, match=problem) as mistake:
        find_environment(name).offer()
    assert "\n" not in str(mistake.value)


def test_a_success_key_that_never_appears(hosted):
    env = everything(find_environment("hosted_world:World?success=info:won&max_episode_steps=2"))
    with pytest.raises(SimScaleError, match="it had: high"):
        run_into(env, 1)
    env.close()


def test_a_python_that_does_not_start(monkeypatch):
    monkeypatch.setenv("SIMSCALE_ENV_PYTHON", "/no/such/python")
    with pytest.raises(SimScaleError, match="cannot start /no/such/python"):
        find_environment(f"hosted_world:Half?{CHOICES}").offer()


def test_a_program_that_is_no_python(monkeypatch):
    monkeypatch.setenv("SIMSCALE_ENV_PYTHON", "/bin/false")
    with pytest.raises(SimScaleError, match="exit code 1"):
        find_environment(f"hosted_world:Half?{CHOICES}").offer()


def test_an_environment_by_its_id():
    registration = find_environment("gym:Reacher-v5?success=return>=-5")
    assert registration.offer().max_episode_steps == 50


def test_a_package_that_registers_an_environment_can_be_named(tmp_path):
    (tmp_path / "registers.py").write_text(
        "import gymnasium\ngymnasium.register('Hosted/World-v1', 'hosted_world:World', max_episode_steps=7)\n"
    )
    assert find_environment("gym:registers:Hosted/World-v1?success=info:high").offer().max_episode_steps == 7


def test_a_python_that_lacks_the_packages_of_a_suite():
    with pytest.raises(SimScaleError, match=r"lacks gym-pusht and pymunk; install"):
        find_environment("pusht").offer()


def test_a_python_with_another_version_than_the_lock(tmp_path):
    for name, version in {"gym_pusht": "0.0.1", "pymunk": locked_version(find_suite("pusht").lock, "pymunk")}.items():
        (tmp_path / f"{name}-{version}.dist-info").mkdir()
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (tmp_path / f"{name}-{version}.dist-info" / "METADATA").write_text(text)
    with pytest.raises(SimScaleError, match=r"expected gym-pusht \d.*has 0.0.1; install it with: pip install") as error:
        find_environment("pusht").offer()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("picture", ["np.zeros((4, 4))", "None", "1 / 0"])
def test_a_film_of_an_environment_that_draws_nothing(picture, tmp_path, monkeypatch, capsys):
    (tmp_path / "dark_world.py").write_text(
        "import numpy as np\nfrom hosted_world import World\n"
        f"class Dark(World):\n    def render(self):\n        return {picture}\n"
    )
    monkeypatch.chdir(tmp_path)
    words = ["--model", "random", "--env", f"dark_world:Dark?{CHOICES}", "--episodes", "1", "--video", "1"]
    assert rollout([*words, "--output", "run", "--quiet"]) == 2
    line, *others = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert not others
    assert not (tmp_path / "run").exists()


def test_an_observation_that_cannot_be_represented(tmp_path):
    (tmp_path / "speaking_world.py").write_text(
        "import gymnasium as gym\nfrom hosted_world import World\n"
        "class Speaking(World):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.observation_space = gym.spaces.Dict(words=gym.spaces.Text(5))\n"
    )
    with pytest.raises(SimScaleError, match="Text"):
        find_environment(f"speaking_world:Speaking?{CHOICES}").offer()
