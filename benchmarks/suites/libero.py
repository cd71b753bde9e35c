"""LIBERO: states and images of the first observation, and after 20 actions, in three tasks of each group.

Our slot runs the initial states in a shuffled order, so that other episodes have run before in it. The plain loop gets
its images with every observation, as users of the package do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.suites.plain import Row, plain_answer, suite_python
from envs.foreign.suites import find_suite
from envs.registration import find_environment
from envs.slots import Observation, Start

TASKS, STATES, SIZE = 3, 10, 128
CAMERAS = ("agentview", "wrist")

PLAIN_LOOP = """
import contextlib, hashlib, io, json, os, sys
import numpy as np
with contextlib.redirect_stdout(io.StringIO()):
    from libero.libero import benchmark, get_libero_path
    from libero.libero.envs import OffScreenRenderEnv
    suite = benchmark.get_benchmark_dict()["libero_" + sys.argv[1]]()
place, count, size = map(int, sys.argv[2:])
task, states = suite.get_task(place), suite.get_task_init_states(place)
path = os.path.join(get_libero_path("bddl_files"), task.problem_folder, task.bddl_file)
env = OffScreenRenderEnv(bddl_file_name=path, camera_heights=size, camera_widths=size)
actions = np.random.default_rng(0).uniform(-1, 1, (20, 7)).astype(np.float32)
found, cameras = [], ("agentview_image", "robot0_eye_in_hand_image")
def upright(observation):
    return [hashlib.sha256(observation[camera][::-1, ::-1].tobytes()).hexdigest() for camera in cameras]
def seen(observation):
    return [float(np.float32(value)) for value in observation["object-state"]]
for index in range(count):
    env.seed(index)
    env.reset()
    env.set_init_state(states[index])
    for _ in range(10):
        observation, _, _, _ = env.step([0.0] * 6 + [-1.0])
    found.append([upright(observation), seen(observation)])
    for action in actions:
        observation, _, _, _ = env.step(action)
    found[-1] += [upright(observation), seen(observation)]
print(json.dumps(found))
"""


def check() -> Iterator[Row]:
    """Yield a row for each task.

    Raises:
        SimScaleError: If LIBERO is not installed.
    """
    python = suite_python("libero")
    for group in find_suite("libero").groups:
        for place in range(TASKS):
            plain = plain_answer(python, PLAIN_LOOP, group, place, STATES, SIZE)
            pairs = list(zip(plain, our_slot(f"libero/{group}/{place}"), strict=True))
            names = ("equal_first_images", "equal_first_states", "equal_last_images", "equal_last_states")
            counts = [sum(one[part] == other[part] for one, other in pairs) for part in range(len(names))]
            yield {
                "environment": f"libero/{group}/{place}",
                "episodes": STATES,
                **dict(zip(names, counts, strict=True)),
            }


def our_slot(name: str) -> list[list[Any]]:
    """Return digests of images, and states, of the first and the last observation of each initial state of a task."""
    registration = find_environment(name)
    needs = registration.offer().needs("environment_state", cameras=dict.fromkeys(CAMERAS, (SIZE, SIZE)))
    env = registration.make(1, needs, False, None)
    slot, looking = np.array([0]), np.array([True])
    actions = np.random.default_rng(0).uniform(-1, 1, (20, 7)).astype(np.float32)
    found: dict[int, list[Any]] = {}
    for index in np.random.default_rng(1).permutation(STATES).tolist():
        env.reset(slot, [Start(index)])
        found[index] = _seen(env.observe(slot, looking))
        for action in actions:
            env.step(slot, action[None])
        found[index] += _seen(env.observe(slot, looking))
    env.close()
    return [found[index] for index in range(STATES)]


def _seen(observation: Observation) -> list[Any]:
    images = [hashlib.sha256(observation[camera][0].tobytes()).hexdigest() for camera in CAMERAS]
    return [images, observation["environment_state"][0].tolist()]
