"""The installed suites keep the promises of slots and say what they are. CI installs pusht and metaworld."""

import numpy as np
import pytest

from envs.foreign.suites import find_suite, suite_names
from envs.registration import find_environment
from envs.slots import Start, check_slots, repeats_itself
from simscaleai.hosting.interpreters import is_installed

pytestmark = pytest.mark.slow


@pytest.fixture(params=suite_names())
def suite(request):
    found = find_suite(request.param)
    if not is_installed(found.name, found.lock):
        pytest.skip(f"python -m envs install {found.name}")
    return found


def make(name, slots):
    registration = find_environment(name)
    spec = registration.offer()
    cameras = {camera: size or (48, 64) for camera, size in spec.cameras.items()}
    return registration.make(slots, spec.needs(*spec.vectors, cameras=cameras, instruction=True), True, None)


def test_it_keeps_the_promises_and_repeats_itself(suite):
    env = make(suite.checked, 2)
    assert check_slots(env)
    assert repeats_itself(env, (Start(0), Start(1)), steps=50)
    env.close()


def test_images_show_something_and_differ_between_cameras(suite):
    env = make(suite.checked, 1)
    env.reset(np.array([0]), [Start(0)])
    seen = env.observe(np.array([0]), np.array([True]))
    images = [seen[camera][0] for camera in env.spec.cameras]
    assert all(image.std() > 5 for image in images)
    assert len({image.tobytes() for image in images}) == len(images)
    env.close()


def test_episodes_have_the_instruction_of_their_task(suite):
    for group, tasks in suite.groups.items():
        env = make(f"{suite.name}/{group}", 2)
        begun = env.reset(np.arange(2), [Start(0, {"task": f"{suite.name}/{task}"}) for task in tasks[:2]])
        assert [each.instruction for each in begun] == [suite.tasks[task] for task in tasks[:2]]
        env.close()
