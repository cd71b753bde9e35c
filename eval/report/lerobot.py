"""A run as `eval_info.json`, the file in which `lerobot-eval` stores its results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from eval.episodes.results import EpisodeResult
from eval.report.contents import Report, RunReport
from eval.runs.media_paths import VIDEOS_FOLDER, video_path
from simscaleai.errors import SimScaleError


def render_lerobot(report: Report) -> str:
    """Return the run of `report` with the keys that `lerobot-eval` writes.

    The keys `per_task`, `per_group` and `overall` are those of today's `lerobot`, `per_episode` and `aggregated` those
    of its single tasks and of its versions up to 0.3. Rates are in percent, and an episode with an error counts as
    a failure. The largest reward of an episode is null, since a run stores the sum alone.

    Raises:
        SimScaleError: If there are several runs, or the run has no episode.
    """
    if len(report.runs) != 1:
        raise SimScaleError(f"expected one run for eval_info.json, got {len(report.runs)}; write one file for each")
    (run,) = report.runs
    if not run.results:
        raise SimScaleError(f"{run.run.folder} has no finished episode for eval_info.json; --resume continues the run")
    timing = {
        "eval_s": run.record.timing.seconds,
        "eval_ep_s": None if run.record.timing.seconds is None else run.record.timing.seconds / len(run.results),
    }
    means, videos = _means(run.results), _videos(run, run.results)
    data = {
        "per_task": list(_tasks(run)),
        "per_group": {run.environment: means | {"n_episodes": len(run.results)} | videos},
        "overall": means | {"n_episodes": len(run.results)} | timing | videos,
        "per_episode": [_episode(result) for result in run.results],
        "aggregated": means | timing,
    }
    return json.dumps(data, indent=2, allow_nan=False) + "\n"


def _tasks(run: RunReport) -> Iterable[dict[str, Any]]:
    """Yield the metrics of each task of a suite in the order of the plan; of one task outside a suite."""
    by_task: dict[str | None, list[EpisodeResult]] = {}
    for result in run.results:
        by_task.setdefault(result.task, []).append(result)
    for number, results in enumerate(by_task.values()):
        metrics = {
            "sum_rewards": [result.return_ for result in results],
            "max_rewards": [None] * len(results),
            "successes": [result.status == "success" for result in results],
        }
        yield {"task_group": run.environment, "task_id": number, "metrics": metrics | _videos(run, results)}


def _means(results: Sequence[EpisodeResult]) -> dict[str, float | None]:
    n = len(results)
    return {
        "avg_sum_reward": sum(result.return_ for result in results) / n,
        "avg_max_reward": None,
        "pc_success": 100 * sum(result.status == "success" for result in results) / n,
    }


def _episode(result: EpisodeResult) -> dict[str, Any]:
    return {
        "episode_ix": result.episode_index,
        "sum_reward": result.return_,
        "max_reward": None,
        "success": result.status == "success",
        "seed": result.seed,
    }


def _videos(run: RunReport, results: Iterable[EpisodeResult]) -> dict[str, list[str]]:
    paths = [video_path(run.run.folder / VIDEOS_FOLDER, result.episode_index) for result in results]
    return {"video_paths": [str(path) for path in paths if path.is_file()], "predicted_video_paths": []}
