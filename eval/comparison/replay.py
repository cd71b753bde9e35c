"""Commands that run episodes of a run again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from eval.runs.record import Settings
from eval.runs.run import Run

_PROGRAM = ["python", "-m", "eval.rollout"]


def replay_command(run: Run, seeds: Sequence[int], arm: str | None = None) -> str:
    """Return the command that runs the episodes with `seeds` as `run` did.

    Args:
        run: The run.
        seeds: Seeds of the episodes.
        arm: Name of their arm in a robustness battery; None for unperturbed episodes, or if the run is no battery.
    """
    policy, settings = run.record.policy, run.record.settings
    words = [*_PROGRAM, "--model", policy.model]
    if policy.checkpoint is not None:
        words += ["--checkpoint", policy.checkpoint]
    if settings.policy_option:
        words += ["--policy-option", *settings.policy_option]
    words += ["--env", settings.env, *_environment_words(settings)]
    if not settings.terminate_on_success:
        words.append("--no-terminate-on-success")
    if settings.intervene:
        words += ["--intervene", *settings.intervene]
    if perturb := (*settings.perturb, *(arm.split() if arm else ())):
        words += ["--perturb", *perturb]
    return shlex.join([*words, "--seeds", *map(str, seeds)])


def _environment_words(settings: Settings) -> list[str]:
    words = ["--success", settings.success] if settings.success is not None else []
    words += ["--env-option", *settings.env_option] if settings.env_option else []
    limit = settings.max_episode_steps
    return words + (["--max-episode-steps", str(limit)] if limit is not None else [])


def replay_both(a: Run, b: Run, seeds: Sequence[int]) -> dict[str, str]:
    """Return the replay commands of both runs for `seeds`, with the keys "a" and "b"; empty without seeds."""
    return {name: replay_command(run, seeds) for name, run in (("a", a), ("b", b))} if seeds else {}
