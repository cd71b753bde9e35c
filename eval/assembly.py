"""Puts together what the loop runs: environment id, policy and environment from the names that users type."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from envs.interface import Contract, check_contract
from policies.base import Policy
from simscaleai.errors import UnknownNameError

if TYPE_CHECKING:
    from envs.vector_env import TaskVectorEnv


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


def build_policy(model: str, checkpoint: Path | None, env_id: str) -> Policy:
    """Return the policy `model` for the environment `env_id`.

    Args:
        model: Registered name, checkpoint folder, or `module:attribute`.
        checkpoint: Folder with the weights, where the name alone does not say.
        env_id: Full id of the environment.

    Raises:
        SimScaleError: If there is no such policy, or it does not serve the environment.
    """
    from envs import describe
    from policies.registry import make_policy

    return make_policy(model, checkpoint=checkpoint, environment=describe(env_id))


def build_environment(
    contract: Contract, env_id: str, num_envs: int, *, terminate_on_success: bool = True
) -> TaskVectorEnv:
    """Return the environment that gives what a policy's contract requires, and nothing that it does not name.

    Raises:
        ContractError: If the environment cannot be what the policy expects.
    """
    from gymnasium.vector import AutoresetMode

    from envs.vector_env import TaskVectorEnv

    env = TaskVectorEnv(
        env_id,
        num_envs,
        cameras=contract.cameras,
        **({"image_size": contract.image_size} if contract.image_size else {}),
        environment_state=contract.environment_state is not None,
        terminate_on_success=terminate_on_success,
        autoreset_mode=AutoresetMode.DISABLED,
        images_on_request=True,
    )
    check_contract(contract, env.contract)
    return env
