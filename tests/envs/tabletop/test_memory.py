"""Memory stays flat over many episodes with images."""

import os

import numpy as np
import pytest

from envs.tabletop.vector_env import TaskVectorEnv


def resident_megabytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads Linux's /proc")
def test_2000_resets_with_rendering_leave_memory_flat():
    env = TaskVectorEnv("SimScale/PickPlaceLanguage-v0", 4, cameras=("front", "wrist"), image_size=(64, 64))
    actions = np.zeros((4, 4), dtype=np.float32)

    def run(resets):
        for _ in range(resets // 4):
            env.reset()
            env.step(actions)

    env.reset(seed=0)
    run(200)
    before = resident_megabytes()
    run(2000)
    assert resident_megabytes() - before < 20
