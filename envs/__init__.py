"""MuJoCo environments for a 7-joint arm, as Gymnasium environments and as a native vector environment.

`gym.make("envs:SimScale/PickPlace-v0")` imports this module, which registers the ids; no simulator is loaded until an
environment is made.
"""

from __future__ import annotations

from envs.interface import Contract
from envs.registration import ENVIRONMENTS, register_task

__all__ = ["ENVIRONMENTS", "describe", "register_task"]

register_task("reach", "SimScale/Reach-v0", "envs.reach:Reach")
register_task("pick-place", "SimScale/PickPlace-v0", "envs.pick_place:PickPlace")
register_task("pick-place-language", "SimScale/PickPlaceLanguage-v0", "envs.pick_place_language:PickPlaceLanguage")


def describe(env_id: str) -> Contract:
    """Return everything the environment `env_id` can offer a policy, images left out."""
    from envs.vector_env import TaskVectorEnv

    return TaskVectorEnv(env_id, environment_state=True).contract
