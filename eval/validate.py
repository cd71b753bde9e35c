"""Chooses the best of several checkpoints, and estimates its success rate without bias from the choice.

    python -m eval.validate checkpoints/a checkpoints/b --env pick-place

The best of K scores is too high: the choice favours luck as well as skill. So all checkpoints run on the same
validation seeds, the best of them runs again on fresh seeds, and only the fresh score estimates its success rate. The
difference of the two scores is the *optimism* of the first.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import tyro

from envs.choices import EnvironmentFlags
from envs.registration import find_environment
from eval.comparison.outcome import Comparison
from eval.comparison.pairing import compare
from eval.episodes.plan import VALIDATION_SEEDS, PlanError, plan_episodes
from eval.episodes.results import ResultsError
from eval.execution.assembly import build_policy, close_policy
from eval.execution.planning import DEFAULT_EPISODES
from eval.rollout import RolloutConfig, run
from eval.runs.folder import check_output, check_same_conditions, run_folder
from eval.runs.reading import Run, read_run
from eval.runs.seed_overlap import seed_overlap
from eval.statistics.percentage import points_text
from eval.statistics.rates import Interval, wilson
from eval.terminal.command import COMPLETE, EPISODE_ERRORS, run_command
from eval.terminal.console import Console, rows_text
from eval.terminal.flags import command_line
from policies.base import Policy
from simscaleai.command_line import raise_at_interrupt
from simscaleai.files import check_new_folder, locked, read_file, remove_partial_files, replace_file
from simscaleai.json_data import DAMAGE, damage_text, parse_json

VALIDATION_FILE = "validation.json"
PROGRAM = "python -m eval.validate"


@dataclass(frozen=True, kw_only=True)
class ValidateConfig(EnvironmentFlags):
    """Choose the best of several checkpoints on validation seeds, then score it on fresh ones."""

    checkpoints: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL MODEL [MODEL …]")]
    """Policies to choose from; each is any --model of eval.rollout."""
    episodes: int = DEFAULT_EPISODES
    """Number of episodes of each run."""
    num_envs: int | None = None
    """Episodes simulated at the same time. Changes the speed, never a result."""
    workers: int = 1
    """Processes that run episodes. Changes the speed, never a result."""
    output: Path | None = None
    """Folder for all runs and validation.json, new or empty. Default: the next free runs/validation-<env>-<number>."""
    resume: bool = False
    """Continue the validation in --output: only missing episodes are run."""
    accept_inexact: bool = False
    """With --resume: continue although the environment does not repeat itself."""
    quiet: bool = False
    """Print only warnings and errors, no progress."""
    json: bool = False
    """Print the result as one JSON object instead of text."""
    terminate_on_success: bool = True
    """End an episode at its first success."""

    def check(self) -> None:
        """Check that there are at least two different checkpoints and that the numbers are in range.

        Raises:
            PlanError: If fewer than two checkpoints are given, one is given twice, or a number is out of range.
        """
        names = self.checkpoints
        if len(names) < 2 or len(set(map(Path, names))) < len(names):
            raise PlanError(f"expected at least 2 different checkpoints, got {' '.join(names) or 'none'}")
        plan_episodes(self.episodes)
        if self.resume and self.output is None:
            raise PlanError("expected --output with --resume: the folder of the validation to continue")
        self.of_run(names[0], VALIDATION_SEEDS.start, self.output or Path()).check()

    def of_run(self, model: str, seed: int, output: Path) -> RolloutConfig:
        """Return the configuration of one run."""
        return RolloutConfig(
            model=model,
            **{field.name: getattr(self, field.name) for field in fields(EnvironmentFlags)},
            episodes=self.episodes,
            seed=seed,
            num_envs=self.num_envs,
            workers=self.workers,
            output=output,
            resume=output.exists(),
            accept_inexact=self.accept_inexact,
            quiet=self.quiet or self.json,
            terminate_on_success=self.terminate_on_success,
        )


@dataclass(frozen=True)
class Validation:
    """Result of the choice between checkpoints."""

    candidates: tuple[Run, ...]
    """One run of each checkpoint on the same seeds, in the order of the command line."""
    fresh: Run
    """The run of the best checkpoint on fresh seeds."""

    @cached_property
    def best(self) -> Run:
        """The candidate with the most successes; the first one if several have equally many."""
        return max(self.candidates, key=_rate)

    @property
    def optimism(self) -> float:
        """The best score minus the score of the same checkpoint on fresh seeds."""
        return _rate(self.best) - _rate(self.fresh)

    @property
    def optimism_interval(self) -> Interval:
        """95 % interval of the optimism: the best score minus the interval of the success probability.

        The best score is fixed before the fresh episodes run, and these do not depend on the choice. So the coverage is
        that of the Wilson interval of the fresh score.
        """
        low, high, level = _interval(self.fresh)
        return Interval(_rate(self.best) - high, _rate(self.best) - low, level)

    @property
    def errors(self) -> int:
        """Number of episodes of all runs that could not be run. They count as not successful."""
        return sum(result.status == "error" for run in (*self.candidates, self.fresh) for result in run.results)

    def comparisons(self) -> Iterator[Comparison]:
        """Yield the comparison of each checkpoint (B) with the best one (A), on the same seeds."""
        return (compare(self.best, run) for run in self.candidates)

    def to_json(self) -> dict[str, Any]:
        """Return all results as plain JSON data; rates and differences are fractions."""
        return {
            "candidates": [
                _run_to_json(comparison.b)
                | {"less_best": comparison.counts.difference, "less_best_newcombe_95": list(comparison.interval[:2])}
                for comparison in self.comparisons()
            ],
            "best": self.best.record.policy.model,
            "fresh": _run_to_json(self.fresh),
            "optimism": self.optimism,
            "optimism_95": list(self.optimism_interval[:2]),
        }


def validate(config: ValidateConfig) -> Validation:
    """Choose between `config.checkpoints`, print the result and write it to `validation.json`.

    Raises:
        SimScaleError: If the configuration is wrong, or a checkpoint does not fit the environment.
        KeyboardInterrupt: If interrupted, after the finished episodes are on disk.
    """
    config.check()
    if config.output is None:
        check_output(None, resume=False)
    else:
        _check_output(config.output, resume=config.resume)  # before time is spent on loading
    with Console(config.quiet, config.json) as console:
        conditions = _conditions(config)
        raise_at_interrupt()
        with run_folder(config.output, f"validation-{Path(config.env).name}") as folder:
            _begin(folder, conditions, resume=config.resume)
            try:
                validation = _run_all(config, folder, conditions["identities"], console)
            except KeyboardInterrupt:
                again = command_line(PROGRAM, replace(config, output=folder, resume=True))
                console.say(rows_text([("continue all with", again)]))
                raise
            found = conditions | validation.to_json()
            _write(folder, found)
        console.say("")
        console.conclude(_rows(validation, folder), lambda: {"folder": str(folder), **found})
    return validation


def _conditions(config: ValidateConfig) -> dict[str, Any]:
    """Return what must stay the same when the validation is resumed, as plain JSON data."""
    identities = []
    for model in config.checkpoints:
        with _policy(config, model) as policy:
            identities.append(policy.identity)
    return {
        "checkpoints": list(config.checkpoints),
        "identities": identities,
        "environment": find_environment(config.environment).env_id,
        "episodes": config.episodes,
        "terminate_on_success": config.terminate_on_success,
    }


@contextmanager
def _policy(config: ValidateConfig, model: str) -> Iterator[Policy]:
    """Yield the policy `model`, and close it. It may change the working directory within the block only."""
    with chdir("."):
        policy = build_policy(model, None, find_environment(config.environment).offer())
        try:
            yield policy
        finally:
            close_policy(policy)


def _check_output(folder: Path, *, resume: bool, is_locked: bool = False) -> None:
    """Check that `folder` is new or empty or, with `resume`, holds a validation to continue."""
    if not (folder / VALIDATION_FILE).exists():
        if folder.is_dir():
            with nullcontext() if is_locked else locked(folder):
                remove_partial_files(folder)
        check_new_folder(folder)
    elif not resume:
        raise ResultsError(f"{folder} already holds a validation; add --resume to continue or choose another --output")


def _begin(folder: Path, conditions: dict[str, Any], *, resume: bool) -> None:
    """Start a validation with these `conditions` in `folder`, or check that the one there has the same conditions."""
    _check_output(folder, resume=resume, is_locked=True)  # again: another one may have begun there in the meantime
    path = folder / VALIDATION_FILE
    if not path.exists():
        _write(folder, conditions)
        return
    try:
        before = dict(parse_json(read_file(path)))
    except DAMAGE as error:
        raise ResultsError(f"{path} is damaged ({damage_text(error)}); choose another --output") from error
    check_same_conditions(folder, {name: before.get(name) for name in conditions}, conditions)


def _run_all(config: ValidateConfig, folder: Path, identities: Sequence[str], console: Console) -> Validation:
    """Run every checkpoint on the first validation seeds and the best one on fresh seeds, each in its own folder."""

    def run_in(part: str, model: str, identity: str, seed: int) -> Run:
        console.say("", f"{part}: {model}")
        run(config.of_run(model, seed, folder / part))
        done = read_run(folder / part)
        if done.record.policy.identity != identity:
            raise ResultsError(f"policy {model!r} has changed since the validation began; start a new validation")
        return done

    first, policies = VALIDATION_SEEDS.start, zip(config.checkpoints, identities, strict=True)
    candidates = tuple(run_in(str(number), *policy, first) for number, policy in enumerate(policies, start=1))
    best = max(candidates, key=_rate).record.policy
    return Validation(candidates, run_in("fresh", best.model, best.identity, _fresh_seed(config, best.model)))


def _fresh_seed(config: ValidateConfig, model: str) -> int:
    """Return the first of `config.episodes` validation seeds on which `model` was neither chosen nor trained.

    The training seeds are those that the checkpoint records.
    """
    first = VALIDATION_SEEDS.start + config.episodes
    with _policy(config, model) as policy:
        checkpoint = getattr(policy, "checkpoint", None)
    training = checkpoint.training if checkpoint else None
    while overlap := seed_overlap(training, plan_episodes(config.episodes, first)):
        first = overlap.trained_on.last + 1
    if first + config.episodes > VALIDATION_SEEDS.stop:
        raise PlanError(f"expected {config.episodes} validation seeds that {model} was not trained on; there are fewer")
    return first


def _rate(run: Run) -> float:
    return run.successes / len(run.results)


def _interval(run: Run) -> Interval:
    return wilson(run.successes, len(run.results))


def _run_to_json(run: Run) -> dict[str, Any]:
    return {
        "model": run.record.policy.model,
        "folder": run.folder.name,
        "identity": run.record.policy.identity,
        "first_seed": run.seeds[0],
        "episodes": len(run.results),
        "successes": run.successes,
        "success_rate": _rate(run),
        "wilson_95": list(_interval(run)[:2]),
    }


def _write(folder: Path, data: dict[str, Any]) -> None:
    replace_file(folder / VALIDATION_FILE, json.dumps(data, indent=2) + "\n")


def _rows(validation: Validation, folder: Path) -> Iterator[tuple[str, str]]:
    best, fresh = validation.best, validation.fresh
    yield "chosen", best.record.policy.model
    yield "chosen on", best.seeds_text
    for comparison in validation.comparisons():
        candidate, (low, high) = comparison.b, (points_text(end, sign=True) for end in comparison.interval[:2])
        difference = f"{points_text(comparison.counts.difference, sign=True)} pp [{low}, {high}] against the best"
        text = "the best" if candidate is best else difference
        yield candidate.folder.name, f"{_score_text(candidate)}; {text}: {candidate.record.policy.model}"
    yield "fresh", f"{_score_text(fresh)} (Wilson), {fresh.seeds_text}: the estimate without bias from the choice"
    low, high = (points_text(end, sign=True) for end in validation.optimism_interval[:2])
    optimism = points_text(validation.optimism, sign=True)
    yield "optimism", f"{optimism} pp [{low}, {high}]: the best score minus the fresh one"
    yield "record", str(folder / VALIDATION_FILE)


def _score_text(run: Run) -> str:
    low, high = (points_text(end) for end in _interval(run)[:2])
    return f"{run.successes}/{len(run.results)} {points_text(_rate(run))} % [{low}, {high}]"


def _run_and_judge(config: ValidateConfig) -> int:
    return EPISODE_ERRORS if validate(config).errors else COMPLETE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code."""
    return run_command(ValidateConfig, _run_and_judge, PROGRAM, arguments)


if __name__ == "__main__":
    sys.exit(main())
