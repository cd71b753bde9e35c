"""Puts together what the loop runs: environment id, policy and environment from the names that users type."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from envs.interface import Contract, check_contract
from policies.base import Policy
from simscaleai.errors import UnknownNameError

if TYPE_CHECKING:
    from envs.vector_env import TaskVectorEnv

_ANY_SIZE = (128, 128)  # of images that nobody looks at


def environment_id(name: str) -> str:
    """Return the full id of the environment `name`, a short name or itself a full id.

    Raises:
        UnknownNameError: If there is none of that name.
    """
    from envs import ENVIRONMENTS

    if name in ENVIRONMENTS.values():
        return name
    if name not in ENVIRONMENTS:
        raise UnknownNameError("environment", name, [*ENVIRONMENTS, *ENVIRONMENTS.values()])
    return ENVIRONMENTS[name]


def environment_contract(env_id: str) -> Contract:
    """Return everything that the environment `env_id` can offer, images left out."""
    from envs import describe

    return describe(env_id)


def build_policy(model: str, checkpoint: Path | None, env_id: str) -> Policy:
    """Return the policy `model` for the environment `env_id`.

    Args:
        model: Registered name, checkpoint folder, or `module:attribute`.
        checkpoint: Folder with the weights, where the name alone does not say.
        env_id: Full id of the environment.

    Raises:
        SimScaleError: If there is no such policy, or it does not serve the environment.
    """
    from policies.registry import make_policy

    return make_policy(model, checkpoint=checkpoint, environment=environment_contract(env_id))


def build_environment(
    contract: Contract,
    env_id: str,
    num_envs: int,
    *,
    offered: Contract | None = None,
    terminate_on_success: bool = True,
    num_threads: int | None = None,
) -> TaskVectorEnv:
    """Return the environment for a policy: images on request, no autoreset.

    Args:
        contract: What the policy requires.
        env_id: Full id of the environment.
        num_envs: Number of slots.
        offered: Cameras, image size and vectors that the environment gives, if more than the policy requires.
        terminate_on_success: End an episode at its first success.
        num_threads: Threads that share the physics; by default chosen from the number of slots and CPUs.

    Raises:
        ContractError: If the environment cannot be what the policy expects.
    """
    from gymnasium.vector import AutoresetMode

    from envs.vector_env import TaskVectorEnv

    offered = offered or contract
    env = TaskVectorEnv(
        env_id,
        num_envs,
        cameras=offered.cameras,
        image_size=offered.image_size or _ANY_SIZE,
        environment_state=offered.environment_state is not None,
        max_episode_steps=contract.max_episode_steps,
        terminate_on_success=terminate_on_success,
        num_threads=num_threads,
        autoreset_mode=AutoresetMode.DISABLED,
        images_on_request=True,
    )
    check_contract(contract, _seen_with(contract, env.contract))
    return env


def _seen_with(contract: Contract, environment: Contract) -> Contract:
    """Return `environment` without what a policy of `contract` does not look at."""
    if contract.environment_state is None:
        environment = replace(environment, environment_state=None)
    if not contract.cameras:
        environment = replace(environment, cameras=(), image_size=None, render_profile=None)
    return environment
