"""What the page of one run shows: its episodes, films and facts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from eval.comparison.replay import replay_command
from eval.episodes.results import EpisodeResult
from eval.runs.media_paths import RERUN_FOLDER, TRACES_FOLDER, VIDEOS_FOLDER
from eval.runs.receipts import RECEIPT_EPISODES, RECEIPTS_FILE
from eval.runs.run import Run, seeds_text
from eval.runs.summary import summarise
from eval.view.folder_files import episode_files


def run_page(run: Run) -> dict[str, Any]:
    """Return the page of `run` as plain JSON data.

    An episode is a list: index, seed, status, failure, steps, return, stage, instruction, task, arm. Its texts are
    numbers of entries of `texts`, because most of them repeat.
    """
    texts: dict[str | None, int] = {}
    return {
        "episodes": [_episode(result, texts) for result in run.results],
        "texts": list(texts),
        "films": episode_files(run.folder / VIDEOS_FOLDER, ".mp4"),
        "recordings": episode_files(run.folder / RERUN_FOLDER, ".rrd"),
        "details": _with_details(run),
        "replay": _replay(run),
        "control_hz": run.record.environment.control_hz,
        "success": run.record.environment.success,
        "tasks": _tasks(run),
        "facts": list(_facts(run)),
        "record": json.dumps(run.record.to_json(), indent=2, ensure_ascii=False),
    }


def _episode(result: EpisodeResult, texts: dict[str | None, int]) -> list[Any]:
    def number(text: str | None) -> int:
        return texts.setdefault(text, len(texts))

    return [
        result.episode_index,
        safe(result.seed),
        result.status,
        number(result.failure),
        result.steps,
        result.return_,
        *map(number, (result.stage, result.instruction, result.task, result.arm)),
    ]


def safe(number: int) -> int | str:
    """Return `number` as a browser reads it without loss: as text if it has more digits than a float64 holds."""
    return number if number < 2**53 else str(number)


def _with_details(run: Run) -> list[int]:
    """Return the indices of the episodes with a trace or a receipt."""
    traced = episode_files(run.folder / TRACES_FOLDER, ".npz")
    received = RECEIPT_EPISODES if (run.folder / RECEIPTS_FILE).exists() else ()
    return sorted({*traced, *received} & {result.episode_index for result in run.results})


def _replay(run: Run) -> list[list[Any]]:
    """Return task, arm and the command that runs an episode again, up to its seed, for each task and arm."""
    first: dict[tuple[str | None, str | None], EpisodeResult] = {}
    for result in run.results:
        first.setdefault((result.task, result.arm), result)
    return [
        [task, arm, replay_command(run, [result]).removesuffix(f" {result.seed}")]
        for (task, arm), result in first.items()
    ]


def _tasks(run: Run) -> list[list[Any]]:
    """Return task, successes, episodes and interval of each task of a suite; nothing for a single task."""
    if all(result.task is None for result in run.results):
        return []
    tasks = summarise(run.results, len(run.results)).tasks
    return [[task, each.successes, each.episodes, *each.wilson_95] for task, each in tasks.items()]


def _battery_text(run: Run) -> str:
    """Return how many episodes a battery has, and the starts that are the same in every arm."""
    arms = {result.arm for result in run.results}
    return f"{len(run.results)} in {len(arms)} arms, each {seeds_text(r for r in run.results if r.arm is None)}"


def _facts(run: Run) -> Iterable[tuple[str, str]]:
    record = run.record
    yield "Episodes", run.seeds_text if record.battery is None else _battery_text(run)
    yield "Success", f"{record.environment.success or 'as the environment says'}"
    if run.interventions:
        yield "Intervention", run.interventions_text
    if run.perturbations:
        yield "Perturbation", run.perturbations_text
    if record.settings.delay:
        yield "Latency", f"{record.settings.delay} control steps"
    yield "Policy", f"{record.policy_text} {record.policy.identity or 'of unknown identity'}"
    yield "Environment", f"{record.environment.env_id} {record.environment.digest}"
    if record.source:
        yield "Commit", f"{record.source.commit}{', with changes' if record.source.dirty else ''}"
    if record.seed_overlap:
        yield "Warning", f"{len(record.seed_overlap.seeds)} seeds are in the range of seeds used for training"
