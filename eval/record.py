"""Films episodes of a policy.

python -m eval.record --model vla --env pick-place --seeds 0 1 2 --output videos/
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from envs.interface import CAMERAS
from eval.assembly import build_environment, build_policy, environment_id
from eval.command import COMPLETE, EPISODE_ERRORS, create_folder, plan_text, run_command
from eval.loop import rollout
from eval.observers.progress import Progress
from eval.observers.video import VideoRecorder, video_path
from eval.plan import plan_seeds
from eval.results import EpisodeResult
from simscaleai.errors import UnknownNameError

_MOST_AT_ONCE = 4
"""Episodes filmed side by side: each holds an encoder process."""


@dataclass(frozen=True, kw_only=True)
class RecordConfig:
    """Film a policy: one MP4 for each seed."""

    model: str
    """What to film: bc, vla, scripted, random, zero, a checkpoint folder, or module:attribute."""
    output: Path
    """Folder for the videos, new or empty."""
    checkpoint: Path | None = None
    """Folder with the weights of --model; by default the shipped ones."""
    env: str = "pick-place"
    """Environment: reach, pick-place, pick-place-language, or a full id."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the episodes."""
    camera: str = "front"
    """Camera of the scene: front or wrist."""
    size: int = 480
    """Height and width of the video [px], even."""


def record(config: RecordConfig) -> list[EpisodeResult]:
    """Film what `config` says, printing each video's path and outcome, and return the results.

    Raises:
        SimScaleError: If the configuration is mistaken.
    """
    if config.camera not in CAMERAS:
        raise UnknownNameError("camera", config.camera, CAMERAS)
    plan = plan_seeds(config.seeds)
    env_id = environment_id(config.env)
    policy = build_policy(config.model, config.checkpoint, env_id)
    env = build_environment(policy.contract, env_id, min(_MOST_AT_ONCE, len(plan)))
    create_folder(config.output)
    print(f"{config.model} in {env_id}: {plan_text(plan)}; videos in {config.output}", flush=True)
    size = (config.size, config.size)
    recorder = VideoRecorder(config.output, range(len(plan)), camera=config.camera, size=size)
    results = rollout(env, policy, plan, [recorder, Progress(len(plan))])
    for result in results:
        outcome = result.failure or result.status
        path = video_path(config.output, result.episode_index)
        print(f"{path}  seed {result.seed}: {outcome} after {result.steps} steps")
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code."""
    return run_command(RecordConfig, _record_and_judge, "python -m eval.record", arguments)


def _record_and_judge(config: RecordConfig) -> int:
    return EPISODE_ERRORS if any(result.status == "error" for result in record(config)) else COMPLETE


if __name__ == "__main__":
    sys.exit(main())
