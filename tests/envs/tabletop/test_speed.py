import timeit

import mujoco.batch
import numpy as np

from envs.tabletop.vector_env import TaskVectorEnv

SLOTS = 16


def fastest(work, times):
    """Return the seconds of the fastest of many runs: what else the machine does only ever adds."""
    return min(timeit.repeat(work, number=times, repeat=200)) / times


def test_a_step_costs_little_beside_its_physics(monkeypatch):
    """Measured against additions of small arrays, so that the machine's speed cancels."""
    env = TaskVectorEnv("SimScale/PickPlace-v0", SLOTS, environment_state=True, terminate_on_success=False)
    env.reset(seed=3_000_000_000)
    monkeypatch.setattr(mujoco.batch.Batch, "step", lambda *args, **kwargs: None)
    actions, rows = np.zeros((SLOTS, 4), np.float32), np.ones((SLOTS, 7))
    step, addition = fastest(lambda: env.step(actions), 10), fastest(lambda: rows + rows, 100)
    assert step < 800 * addition
