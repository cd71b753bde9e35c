"""Changed instructions and targets for the episodes of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eval.episodes.plan import TEST_SEEDS, EpisodeSpec
from eval.probing.other_seed import other_seed
from simscaleai.errors import SimScaleError
from simscaleai.perturbation import axis_stream

if TYPE_CHECKING:
    from envs.tabletop.tasks.cubes import CubeTask

TARGET = "{target}"
"""Placeholder for the target in an instruction."""


class InterventionError(SimScaleError):
    """An intervention that does not exist, or that would change nothing."""


def needs_targets(language: str) -> bool:
    """Return whether the instruction that `language` selects depends on a target; see `changed_instruction`."""
    return language in ("shuffled", "held-out", "counterfactual") or TARGET in language


def changed_instruction(language: str, spec: EpisodeSpec, env_id: str) -> str:
    """Return the instruction that the policy gets in the episode `spec`.

    Args:
        language: "empty", "shuffled", "held-out", "counterfactual", or the instruction itself, with `TARGET` for the
            target.
        spec: The episode. Its option `target` names the object to move; by default it is drawn from the seed.
        env_id: Full id of the environment.

    Raises:
        InterventionError: If the instruction depends on a target and the environment has no choice of targets.
    """
    if language == "empty":
        return ""
    if not needs_targets(language):
        return language
    task = task_with_targets(env_id, f"language={language}")
    if language == "shuffled":
        other = other_seed(spec.seed, "language", TEST_SEEDS)
        return task.phrase(task.choose_target(other), other)
    target = task.choose_target(spec.seed, spec.options.get("target"))
    if language == "held-out":
        return task.phrase_held_out(target, spec.seed)
    if language == "counterfactual":
        others = [colour for colour in task.colours if colour != target]
        stream = axis_stream(spec.seed, "language=counterfactual")
        return task.phrase(others[int(stream.integers(len(others)))], spec.seed)
    return language.replace(TARGET, target)


def choice_of_targets(env_id: str) -> tuple[str, ...]:
    """Return the objects that an episode of the environment `env_id` may ask to move, as instructions name them.

    The result is empty if the environment has no choice of targets.
    """
    task = _find_task_with_targets(env_id)
    return () if task is None else task.colours


def task_with_targets(env_id: str, text: str) -> type[CubeTask]:
    """Return the task of the environment `env_id`, which has a choice of targets.

    Args:
        env_id: Full id of the environment.
        text: Intervention that needs the choice, for the error message.

    Raises:
        InterventionError: If the environment has no choice of targets.
    """
    task = _find_task_with_targets(env_id)
    if task is None:
        raise InterventionError(f"{text} needs a task with several targets, such as pick-place-language, not {env_id}")
    return task


def _find_task_with_targets(env_id: str) -> type[CubeTask] | None:
    from envs.tabletop.registration import find_task, is_task
    from envs.tabletop.tasks.cubes import CubeTask

    task = find_task(env_id) if is_task(env_id) else None
    return task if task is not None and issubclass(task, CubeTask) and len(task.colours) > 1 else None
