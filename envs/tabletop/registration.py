"""Registers and finds tabletop tasks, without importing a simulator."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import gymnasium as gym

from envs.registration import Registration, register_environment
from envs.slots import SlotEnv
from envs.tabletop.tasks.docstring import Description, describe
from simscaleai.contract import EnvSpec, Needs
from simscaleai.errors import SimScaleError, UnknownNameError

if TYPE_CHECKING:
    from envs.tabletop.tasks.task import Task

_TASKS: dict[str, str] = {}
"""Import path of each task class, "module:Class", by environment id."""


def register_task(
    name: str, env_id: str, task: str, max_episode_steps: int | None = None, *, goal_conditioned: bool = False
) -> None:
    """Register a tabletop task as an environment of the evaluator and of Gymnasium, single and vector.

    Args:
        name: Short name for the commands, for example "reach".
        env_id: Id with its version, for example "SimScale/Reach-v0".
        task: Import path of the task class, "module:Class". The module is imported when it is first needed.
        max_episode_steps: Time limit of the task class, for the specification of Gymnasium. Then `gym.make` can set
            another limit. None: the environment applies the limit itself, and `gym.make` can only shorten it.
        goal_conditioned: Whether the class is a `GoalTask`, so that Gymnasium's environments have `compute_reward`.

    Raises:
        SimScaleError: If the name or the id belongs to another environment.
    """
    register_environment(Registration(name, env_id, partial(_offer, env_id), partial(_make, env_id)))
    _TASKS[env_id] = task
    prefix = "Goal" if goal_conditioned else ""
    gym.register(
        env_id,
        entry_point=f"envs.tabletop.gym_env:{prefix}TaskEnv",
        vector_entry_point=f"envs.tabletop.vector_env:{prefix}TaskVectorEnv",
        max_episode_steps=max_episode_steps,
        kwargs={"env_id": env_id},
    )


def is_task(env_id: str) -> bool:
    """Return whether `env_id` is a tabletop task."""
    return env_id in _TASKS


def find_task(env_id: str) -> type[Task]:
    """Import and return the task class that is registered as `env_id`.

    Raises:
        UnknownNameError: If no task has this id.
        SimScaleError: If the registered module or class does not exist.
    """
    location = _location(env_id)
    module_name, _, class_name = location.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name:  # the missing module is one that the task imports
            raise
        raise SimScaleError(f"cannot find module {module_name!r} of the registered task {location!r}") from error
    if not hasattr(module, class_name):
        raise SimScaleError(f"no class {class_name!r} in {module.__file__}; the registered task is {location!r}")
    task: type[Task] = getattr(module, class_name)
    return task


def describe_task(env_id: str) -> Description:
    """Return the description of the task `env_id`, read from the class docstring without importing the class.

    Raises:
        UnknownNameError: If no task has this id.
        SimScaleError: If the registered module or class does not exist.
    """
    location = _location(env_id)
    module_name, _, class_name = location.partition(":")
    spec = importlib.util.find_spec(module_name)
    if spec is None or spec.origin is None:
        raise SimScaleError(f"cannot find module {module_name!r} of the registered task {location!r}")
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            return describe(inspect.cleandoc(ast.get_docstring(node) or ""))
    raise SimScaleError(f"no class {class_name!r} in {spec.origin}; the registered task is {location!r}")


def _location(env_id: str) -> str:
    if env_id not in _TASKS:
        raise UnknownNameError("environment", env_id, _TASKS)
    return _TASKS[env_id]


def _offer(env_id: str) -> EnvSpec:
    from envs.tabletop.task_slots import task_spec

    return task_spec(env_id, find_task(env_id))


def _make(
    env_id: str, num_slots: int, needs: Needs, terminate_on_success: bool, max_episode_steps: int | None
) -> SlotEnv:
    from envs.tabletop.task_slots import TaskSlots

    return TaskSlots(
        env_id,
        find_task(env_id),
        num_slots,
        needs,
        terminate_on_success=terminate_on_success,
        max_episode_steps=max_episode_steps,
    )
