"""Commands that run episodes of a run again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from eval.episodes.results import EpisodeResult
from eval.runs.run import Run
from eval.runs.schema.conditions import Settings

_PROGRAM = ["python", "-m", "eval.rollout"]


def replay_command(run: Run, results: Sequence[EpisodeResult]) -> str:
    """Return the command that runs the episodes of `results` as `run` did.

    The episodes of each task of a suite, and of each arm of a robustness battery, have a command of their own.
    """
    seeds: dict[tuple[str | None, str | None], list[int]] = {}
    for result in results:
        arm = None if run.record.battery is None else result.arm
        seeds.setdefault((result.task, arm), []).append(result.seed)
    return " && ".join(_command(run, task, arm, own) for (task, arm), own in seeds.items())


def _command(run: Run, task: str | None, arm: str | None, seeds: Sequence[int]) -> str:
    policy, settings = run.record.policy, run.record.settings
    words = [*_PROGRAM, "--model", policy.model]
    if policy.checkpoint is not None:
        words += ["--checkpoint", policy.checkpoint]
    if settings.policy_option:
        words += ["--policy-option", *settings.policy_option]
    words += ["--env", settings.env, *_environment_words(settings)] if task is None else ["--env", task]
    if not settings.terminate_on_success:
        words.append("--no-terminate-on-success")
    if settings.intervene:
        words += ["--intervene", *settings.intervene]
    if perturb := (*settings.perturb, *(arm.split() if arm else ())):
        words += ["--perturb", *perturb]
    if settings.delay:
        words += ["--delay", str(settings.delay)]
    return shlex.join([*words, "--seeds", *map(str, seeds)])


def _environment_words(settings: Settings) -> list[str]:
    words = ["--success", settings.success] if settings.success is not None else []
    words += ["--env-option", *settings.env_option] if settings.env_option else []
    limit = settings.max_episode_steps
    return words + (["--max-episode-steps", str(limit)] if limit is not None else [])


def replay_both(a: Run, b: Run, results: Sequence[EpisodeResult]) -> dict[str, str]:
    """Return the commands that run the episodes of `results` as both runs did, with the keys "a" and "b".

    The dictionary is empty without results.
    """
    return {name: replay_command(run, results) for name, run in (("a", a), ("b", b))} if results else {}
