"""Chooses the best of several checkpoints, and says what may be believed of it.

The best of K scores is too high: it was chosen for its luck as well as for its skill. So all checkpoints run on the
same validation seeds, the best of them runs once more on fresh ones, and only this second figure is reported as its
success rate. How far the first exceeded it is the *optimism*, which a report of the best of K would have contained.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from eval.assembly import build_policy, environment_id
from eval.comparison import Comparison, Run, compare
from eval.console import Console, rows_text
from eval.flags import command_line
from eval.percentage import points_text
from eval.plan import VALIDATION_SEEDS, PlanError, plan_episodes
from eval.planning import DEFAULT_EPISODES
from eval.results import RunRecord, write_atomically
from eval.rollout_config import RolloutConfig
from eval.run_folder import check_output, check_same_conditions, next_free_folder
from eval.seed_overlap import seed_overlap
from eval.statistics import Interval, wilson

VALIDATION_FILE = "validation.json"

PROGRAM = "python -m eval.rollout"


@dataclass(frozen=True)
class Validation:
    """How the choice between checkpoints went."""

    candidates: tuple[Run, ...]
    """A run of each checkpoint on the same seeds, in the order that they were named."""
    fresh: Run
    """The run of the best of them on fresh seeds."""

    @cached_property
    def best(self) -> Run:
        """The run with most successes; of equals the first that was named."""
        return _best(self.candidates)

    @property
    def optimism(self) -> float:
        """How much higher the score was for which the best one was chosen than its score on fresh seeds."""
        return _rate(self.best) - _rate(self.fresh)

    @property
    def optimism_interval(self) -> Interval:
        """How much too high the first score was: what it was, less the interval of the success probability.

        The first score is a fixed number by then, and the fresh episodes know nothing of the choice; so this holds as
        often as the Wilson interval of the fresh score does.
        """
        low, high, level = _interval(self.fresh)
        return Interval(_rate(self.best) - high, _rate(self.best) - low, level)

    @property
    def errors(self) -> int:
        """Episodes that could not be run, of all runs; they count as no success."""
        return sum(result.status == "error" for run in (*self.candidates, self.fresh) for result in run.results)

    def comparisons(self) -> Iterator[Comparison]:
        """Yield how each checkpoint (B) compares with the best one (A), on the same seeds."""
        return (compare(self.best, run) for run in self.candidates)

    def to_json(self) -> dict[str, Any]:
        """Return everything that was found as plain JSON data; rates and differences are fractions."""
        return {
            "candidates": [
                _run_to_json(comparison.b)
                | {"less_best": comparison.counts.difference, "less_best_newcombe_95": list(comparison.interval[:2])}
                for comparison in self.comparisons()
            ],
            "best": self.best.record.config["model"],
            "fresh": _run_to_json(self.fresh),
            "optimism": self.optimism,
            "optimism_95": list(self.optimism_interval[:2]),
        }


def validate(config: RolloutConfig, run: Callable[[RolloutConfig], RunRecord]) -> Validation:
    """Choose between the checkpoints `config.validate`, printing what was found and leaving it in `validation.json`.

    Args:
        config: With `validate`; `episodes` is the number for each run. `resume` continues in `output`.
        run: Does one run, leaving its folder: `eval.rollout.run`.

    Raises:
        SimScaleError: If the configuration is mistaken, or the checkpoints do not do the same task.
        KeyboardInterrupt: If interrupted, after the finished episodes are on disk.
    """
    config.check()
    models = config.validate or ()
    if len(models) < 2 or len(set(models)) < len(models):
        raise PlanError(f"expected at least 2 different checkpoints with --validate, got {' '.join(models) or 'none'}")
    env_id, episodes = environment_id(config.env), DEFAULT_EPISODES if config.episodes is None else config.episodes
    plan_episodes(episodes)  # which refuses a number that makes no sense, before anything is loaded
    for model in models:
        build_policy(model, None, env_id)  # a wrong name must not come out after an hour
    folder = config.output or next_free_folder(f"validation-{Path(config.env).name}")
    conditions = {
        "checkpoints": list(models),
        "environment": env_id,
        "episodes": episodes,
        "terminate_on_success": config.terminate_on_success,
    }
    _begin(folder, conditions, resume=config.resume)
    console = Console(config.quiet, config.json)
    one = replace(config, validate=None, episodes=episodes, quiet=config.quiet or config.json, json=False)
    try:
        validation = _run_all(one, models, folder, run, console)
    except KeyboardInterrupt:
        again = command_line(PROGRAM, replace(config, output=folder, resume=True))
        console.say(rows_text([("continue all with", again)]))
        raise
    found = conditions | validation.to_json()
    _write(folder, found)
    console.say("")
    console.conclude(_rows(validation, folder), lambda: {"folder": str(folder), **found})
    return validation


def _begin(folder: Path, conditions: dict[str, Any], *, resume: bool) -> None:
    """Take `folder` for a choice under these `conditions`, or continue the one that began there."""
    path = folder / VALIDATION_FILE
    if resume and path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        check_same_conditions(folder, {name: before.get(name) for name in conditions}, conditions)
        return
    check_output(folder, resume=False)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder, conditions)


def _run_all(
    config: RolloutConfig,
    models: tuple[str, ...],
    folder: Path,
    run: Callable[[RolloutConfig], RunRecord],
    console: Console,
) -> Validation:
    """Run every model on the first validation seeds, and the best on fresh ones, each in a folder of its own."""

    def run_in(part: str, model: str, seed: int) -> Run:
        output = folder / part
        console.say("", f"{part}: {model}")
        run(replace(config, model=model, seed=seed, output=output, resume=output.exists()))
        return Run.read(output)

    first = VALIDATION_SEEDS.start
    candidates = tuple(run_in(str(number), model, first) for number, model in enumerate(models, start=1))
    model = _best(candidates).record.config["model"]
    return Validation(candidates, run_in("fresh", model, _fresh_seed(config, model)))


def _fresh_seed(config: RolloutConfig, model: str) -> int:
    """Return the first of so many seeds on which `model` was neither chosen nor trained, as far as it records that."""
    episodes = config.episodes or DEFAULT_EPISODES
    first = VALIDATION_SEEDS.start + episodes
    policy = build_policy(model, None, environment_id(config.env))
    while overlap := seed_overlap(policy, plan_episodes(episodes, first)):
        first = overlap.last + 1
    if first + episodes > VALIDATION_SEEDS.stop:
        raise PlanError(f"expected {episodes} validation seeds that {model} was not trained on; there are not as many")
    return first


def _best(candidates: tuple[Run, ...]) -> Run:
    return max(candidates, key=_rate)


def _rate(run: Run) -> float:
    return sum(run.successes.values()) / len(run.results)


def _interval(run: Run) -> Interval:
    return wilson(sum(run.successes.values()), len(run.results))


def _run_to_json(run: Run) -> dict[str, Any]:
    return {
        "model": run.record.config["model"],
        "folder": run.folder.name,
        "checkpoint_digest": run.record.checkpoint_digest,
        "first_seed": run.seeds[0],
        "episodes": len(run.results),
        "successes": sum(run.successes.values()),
        "success_rate": _rate(run),
        "wilson_95": list(_interval(run)[:2]),
    }


def _write(folder: Path, data: dict[str, Any]) -> None:
    write_atomically(folder / VALIDATION_FILE, json.dumps(data, indent=2) + "\n")


def _rows(validation: Validation, folder: Path) -> Iterator[tuple[str, str]]:
    best, fresh = validation.best, validation.fresh
    yield "chosen", _model(best)
    yield "chosen on", best.seeds_text
    for comparison in validation.comparisons():
        run, (low, high) = comparison.b, (points_text(end, sign=True) for end in comparison.interval[:2])
        difference = f"{points_text(comparison.counts.difference, sign=True)} pp [{low}, {high}] to the best"
        yield run.folder.name, f"{_score_text(run)}; {'the best' if run is best else difference}: {_model(run)}"
    yield "fresh", f"{_score_text(fresh)} (Wilson), {fresh.seeds_text}: only this figure may be believed"
    low, high = (points_text(end, sign=True) for end in validation.optimism_interval[:2])
    optimism = points_text(validation.optimism, sign=True)
    yield "optimism", f"{optimism} pp [{low}, {high}]: the score it was chosen for less the fresh one"
    yield "record", str(folder / VALIDATION_FILE)


def _model(run: Run) -> str:
    return str(run.record.config["model"])


def _score_text(run: Run) -> str:
    low, high = (points_text(end) for end in _interval(run)[:2])
    return f"{sum(run.successes.values())}/{len(run.results)} {points_text(_rate(run))} % [{low}, {high}]"
