"""`simscale_task`: episodes of consecutive seeds as a task of inspect-robots."""

from __future__ import annotations

import numpy as np
from inspect_robots import Scene, Task, episode_length, success_at_end

from envs.slots import Start
from inspect_robots_simscale.spaces import find_task


def simscale_task(env: str = "pick-place", episodes: int = 10, seed: int = 0) -> Task:
    """Return the task whose scenes are the starts of the seeds `seed` to `seed + episodes - 1`.

    The instruction of a scene is what the environment says at its start.

    Args:
        env: Name of the environment, as for `--env` of `python -m eval.rollout`.
        episodes: Number of scenes.
        seed: Seed of the first scene.

    Raises:
        SimScaleError: If there is no such environment, or `env` names several.
    """
    registration = find_task(env)
    spec = registration.offer()
    slots = registration.make(1, spec.needs(), terminate_on_success=True, max_episode_steps=None)
    starts = [Start(number) for number in range(seed, seed + episodes)]
    begun = [slots.reset(np.zeros(1, dtype=np.intp), [start])[0] for start in starts]
    slots.close()
    return Task(
        name=f"simscale/{env}",
        scenes=[
            Scene(id=f"seed-{start.seed}", instruction=each.instruction, init_seed=start.seed)
            for start, each in zip(starts, begun, strict=True)
        ],
        scorer=[success_at_end(), episode_length()],
        max_steps=spec.max_episode_steps,
    )
