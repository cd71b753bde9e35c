"""Wordings of the instructions in demonstrations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from eval.episodes.plan import EpisodeSpec, PlanError

Phrasings = Literal["task", "grammar"]
"""Where instructions come from: the task's own wordings, or the grammar of `envs.tabletop.tasks.grammar`."""


def with_phrasings(plan: Sequence[EpisodeSpec], env_id: str, phrasings: Phrasings) -> tuple[EpisodeSpec, ...]:
    """Return `plan` with an instruction for each episode, drawn from its seed; unchanged for "task".

    Args:
        plan: The episodes.
        env_id: Full id of the environment.
        phrasings: Where instructions come from.

    Raises:
        PlanError: If the grammar has no instructions for the task.
    """
    if phrasings == "task":
        return tuple(plan)
    from envs.tabletop.registration import find_task, is_task
    from envs.tabletop.tasks.pick_place import PickPlace

    task = find_task(env_id) if is_task(env_id) else None
    if task is None or not issubclass(task, PickPlace):
        raise PlanError(f"--phrasings grammar is for pick-place and pick-place-language, not for {env_id}")

    def phrased(spec: EpisodeSpec) -> EpisodeSpec:
        target = task.choose_target(spec.seed, spec.options.get("target"))
        return replace(spec, options={**spec.options, "instruction": task.phrase_by_grammar(target, spec.seed)})

    return tuple(phrased(spec) for spec in plan)
