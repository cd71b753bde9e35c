"""Forks, threads and programs that import mujoco first: images and physics work, or one line says what to do."""

import ctypes.util
import os
import subprocess
import sys
import threading

import gymnasium as gym
import numpy as np
import pytest

from envs.tabletop.gym_env import TaskEnv
from simscaleai.errors import UnknownNameError

REACH = "SimScale/Reach-v0"
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
needs_egl = pytest.mark.skipif(not ctypes.util.find_library("EGL"), reason="no EGL here")

FORK = """
import os, sys
import numpy as np
from envs.tabletop.gym_env import TaskEnv
from envs.tabletop.vector_env import TaskVectorEnv

BEFORE
for after in AFTER:
    sys.stdout.flush()
    if os.fork() == 0:
        try:
            exec(after)
            print("works")
        except ValueError as error:
            print(type(error).__name__, error)
        sys.exit(0)
    print("child:", os.wait()[1])
"""

DRAW = "TaskEnv('SimScale/Reach-v0', render_mode='rgb_array')"
SLOTS = "TaskVectorEnv('SimScale/PickPlace-v0', 16, num_threads={threads})"
STILL = "np.zeros((16, 4), np.float32)"


def run(code, **environment):
    """Run `code` in a process of its own; return what it printed. It has 120 s, so that a hang is found."""
    variables = {key: value for key, value in os.environ.items() if key not in ("MUJOCO_GL", "DISPLAY")} | environment
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


def fork(before, *after):
    """Run each of `after` in a process that is forked after `before` and exits as usual; return what each printed."""
    lines, stderr = run(FORK.replace("BEFORE", before).replace("AFTER", str(after)))
    assert lines[1::2] == ["child: 0"] * len(after), stderr
    assert stderr == ""
    return lines[::2]


@needs_fork
def test_a_forked_process_is_told_that_it_cannot_draw_and_may_close_what_its_parent_drew_with():
    draws = [f"new = {DRAW}; new.reset(seed=0); new.render()", "env.render()", "env.reset(); env.render()"]
    *told, closed = fork(f"env = {DRAW}; env.reset(seed=0); env.render()", *draws, "env.close(); del env")
    for said in told:
        assert said.startswith("SimScaleError cannot render in a process that was forked from one that had rendered; ")
        assert 'vector_kwargs={"context": "spawn"}' in said
    assert closed == "works"


@needs_fork
def test_a_forked_process_draws_if_its_parent_has_not():
    assert fork(f"env = {DRAW}; env.reset(seed=0)", "env.render()") == ["works"]


@needs_fork
def test_a_forked_process_is_told_that_threads_are_gone_and_may_have_threads_of_its_own():
    before = f"env = {SLOTS.format(threads=2)}; env.reset(seed=0); env.step({STILL})"
    own = f"new = {SLOTS.format(threads=2)}; new.reset(); new.step({STILL})"
    *told, dropped, own = fork(
        before, f"env.step({STILL})", "env.reset(seed=1)", "import gc; del env; gc.collect()", own
    )
    for said in told:
        assert said.startswith("SimScaleError an environment with 2 threads does not work in a process that was forked")
        assert "num_threads=1" in said
        assert '"spawn"' in said
    assert (dropped, own) == ("works", "works")


@needs_fork
def test_a_forked_process_steps_without_threads():
    before = f"env = {SLOTS.format(threads=1)}; env.reset(seed=0); env.step({STILL})"
    own = f"new = {SLOTS.format(threads=2)}; new.reset(); new.step({STILL})"
    assert fork(before, f"env.step({STILL})", own) == ["works", "works"]


def test_asynchronous_environments_with_images_work_when_they_are_spawned():
    one = gym.make(f"envs:{REACH}", cameras=("front",), image_size=16)
    images = [one.reset(seed=seed)[0]["front"] for seed in (5, 6)]
    many = gym.make_vec(
        f"envs:{REACH}",
        2,
        vectorization_mode="async",
        vector_kwargs={"context": "spawn"},
        cameras=("front",),
        image_size=16,
    )
    observation, _ = many.reset(seed=5)
    np.testing.assert_array_equal(observation["front"], images)
    many.close()


def test_threads_may_share_an_environment_that_draws():
    env = TaskEnv(REACH, cameras=("front",), image_size=32)
    expected = [env.reset(seed=seed)[0]["front"] for seed in range(3)]
    drawn = []

    def work(seed):
        drawn.append(env.reset(seed=seed)[0]["front"])

    for seed in range(3):
        thread = threading.Thread(target=work, args=(seed,))
        thread.start()
        thread.join()
    np.testing.assert_array_equal(drawn, expected)
    np.testing.assert_array_equal(env.reset(seed=1)[0]["front"], expected[1])
    closing = threading.Thread(target=env.close)
    closing.start()
    closing.join()


def test_two_threads_draw_at_the_same_time():
    seeds = range(20)
    env = TaskEnv(REACH, cameras=("front",), image_size=32)
    expected = [env.reset(seed=seed)[0]["front"] for seed in seeds]
    drawn = {}

    def work(name):
        own = TaskEnv(REACH, cameras=("front",), image_size=32)
        drawn[name] = [own.reset(seed=seed)[0]["front"] for seed in seeds]
        own.close()

    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in range(3):
        np.testing.assert_array_equal(drawn[name], expected)


FIRST = """
from envs.tabletop.gym_env import TaskEnv
env = TaskEnv("SimScale/Reach-v0", cameras=("front",), image_size=32)
for _ in range(2):
    try:
        print(env.reset(seed=0)[0]["front"].std() > 10)
    except ValueError as error:
        print(type(error).__name__, error)
"""


@needs_egl
def test_a_program_that_imports_mujoco_first_gets_images():
    assert run("import mujoco\n" + FIRST) == (["True", "True"], "")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere windows need no DISPLAY")
@pytest.mark.parametrize("first", [pytest.param("import mujoco\n", marks=pytest.mark.slow), ""])
@pytest.mark.parametrize(
    "variables",
    [
        *({"MUJOCO_GL": backend} for backend in ("glfw", "disabled", "osmesa", "glx")),
        {"DISPLAY": ":99"},
        {"DISPLAY": ":99", "MUJOCO_GL": "glfw"},
    ],
)
def test_a_first_attempt_that_fails_says_so_every_time(first, variables):
    if variables.get("MUJOCO_GL") == "osmesa" and ctypes.util.find_library("OSMesa"):
        pytest.skip("OSMesa works here")
    lines, stderr = run(first + FIRST, **variables)
    assert len(lines) == 2
    assert lines[0] == lines[1]
    assert lines[0].startswith("SimScaleError cannot render (")
    assert "libegl1" in lines[0]
    assert stderr == ""


@pytest.mark.filterwarnings("ignore:.*:UserWarning:gymnasium")
def test_a_mistake_in_an_asynchronous_environment_keeps_its_text():
    many = gym.make_vec(
        "envs:SimScale/PickPlaceLanguage-v0", 2, vectorization_mode="async", vector_kwargs={"context": "spawn"}
    )
    with pytest.raises(UnknownNameError, match=r"Unknown target 'rde'\. Did you mean 'red'"):
        many.reset(seed=5, options={"target": "rde"})
