"""Names of the environments and where their tasks live."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import gymnasium as gym

from envs.interface import SimScaleError, UnknownChoiceError

if TYPE_CHECKING:
    from envs.task import Task

ENVIRONMENTS: dict[str, str] = {}
"""Short name, as in `--env reach`, to environment id."""

_TASKS: dict[str, str] = {}


def register_task(name: str, env_id: str, task: str) -> None:
    """Register a task as an environment, single and vector.

    Args:
        name: Short name for the commands, for example "reach".
        env_id: Gymnasium id with its version, for example "SimScale/Reach-v0".
        task: Where the task class lives, "module:Class"; imported when first needed.
    """
    ENVIRONMENTS[name] = env_id
    _TASKS[env_id] = task
    gym.register(
        env_id,
        entry_point="envs.gym_env:TaskEnv",
        vector_entry_point="envs.vector_env:TaskVectorEnv",
        kwargs={"env_id": env_id},
    )


def task_location(env_id: str) -> str:
    """Return where the task class behind `env_id` lives, "module:Class", without importing it.

    Raises:
        UnknownChoiceError: If no environment has this id.
    """
    if env_id not in _TASKS:
        raise UnknownChoiceError("environment", env_id, _TASKS)
    return _TASKS[env_id]


def find_task(env_id: str) -> type[Task]:
    """Return the task class behind `env_id`.

    Raises:
        UnknownChoiceError: If no environment has this id.
        SimScaleError: If what was registered for it is not there.
    """
    location = task_location(env_id)
    module_name, _, class_name = location.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name:  # one that the task imports
            raise
        raise SimScaleError(f"cannot find module {module_name!r} of the registered task {location!r}") from error
    if not hasattr(module, class_name):
        raise SimScaleError(f"no class {class_name!r} in {module.__file__}; the registered task is {location!r}")
    task: type[Task] = getattr(module, class_name)
    return task
