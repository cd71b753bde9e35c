"""Films episodes of a policy.

python -m eval.record --model vla --env pick-place --seeds 0 1 2 --output videos/
python -m eval.record --model vla --env pick-place --grid 4x4 --output wall.mp4
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envs.rendering import OVERVIEW, VIDEO_CAMERAS
from eval.assembly import build_environment, build_policy, environment_id
from eval.command import COMPLETE, EPISODE_ERRORS, create_folder, plan_text, run_command
from eval.console import Console
from eval.film import FORMATS
from eval.loop import rollout
from eval.observers.base import Observer
from eval.observers.progress import Progress
from eval.observers.video import SIZE, VideoRecorder, outcome_of, video_paths
from eval.observers.wall import TILE, WallRecorder
from eval.plan import EpisodeSpec, plan_seeds
from eval.results import EpisodeResult
from simscaleai.errors import SimScaleError, UnknownNameError

if TYPE_CHECKING:
    from envs.vector_env import TaskVectorEnv

_MOST_AT_ONCE = 4
"""Episodes filmed side by side, each to its own file: each holds an encoder process."""

_MOST_TILES = 100
_MOST_PIXELS = 2_600_000
"""Of one frame of a wall: all pictures are kept in memory, 1.2 GB of them in 150 steps."""

_FEW_SEEDS = 3
_SIZES = range(32, 1921)
_WALL_FILE = "wall.mp4"


@dataclass(frozen=True, kw_only=True)
class RecordConfig:
    """Film a policy: one film for each seed, or one wall of many."""

    model: str
    """What to film: bc, vla, scripted, random, zero, a checkpoint folder, or module:attribute."""
    output: Path
    """Folder for the MP4s, new or empty; for one seed or a wall also a file that ends in .mp4 or .gif."""
    checkpoint: Path | None = None
    """Folder with the weights of --model; by default the shipped ones."""
    env: str = "pick-place"
    """Environment: reach, pick-place, pick-place-language, or a full id."""
    seeds: tuple[int, ...] = ()
    """Seeds of the episodes; by default 0, 1, 2, or as many from 0 on as the wall has tiles."""
    cameras: tuple[str, ...] = (OVERVIEW,)
    """Side by side: overview, front, wrist."""
    size: int | None = None
    """Height and width of what a camera sees [px], even; by default 480, in a wall 160."""
    grid: str | None = None
    """Rows and columns of a wall of many episodes in one film, for example 4x4."""
    quiet: bool = False
    """Print nothing but mistakes, also no progress."""


def record(config: RecordConfig) -> list[EpisodeResult]:
    """Film what `config` says, printing each film's path and outcome, and return the results.

    Raises:
        SimScaleError: If the configuration is mistaken.
    """
    grid = None if config.grid is None else _parse_grid(config.grid)
    _check_views(config, 1 if grid is None else grid[0] * grid[1])
    plan = _make_plan(config, grid)
    env_id = environment_id(config.env)
    policy = build_policy(config.model, config.checkpoint, env_id)
    at_once = _MOST_AT_ONCE if grid is None else len(plan)
    env = build_environment(policy.contract, env_id, min(at_once, len(plan)))
    _check_rendering(env, config)
    films = _make_place(config, len(plan))
    console = Console(config.quiet)
    console.say(f"{config.model} in {env_id}: {plan_text(plan)}; films in {films[0].parent}")
    observers = [_recorder(config, grid, films), *([] if config.quiet else [Progress(len(plan))])]
    results = rollout(env, policy, plan, observers)
    for result in results:
        path = f"{films[result.episode_index]}  " if grid is None else ""
        console.say(f"{path}seed {result.seed}: {outcome_of(result)} after {result.steps} steps")
    if grid is not None:
        console.say(f"{films[0]}  {sum(result.status == 'success' for result in results)} of {len(results)} succeeded")
    return results


def _recorder(config: RecordConfig, grid: tuple[int, int] | None, films: dict[int, Path]) -> Observer:
    size = config.size or (SIZE if grid is None else TILE)
    if grid is None:
        return VideoRecorder(films, cameras=config.cameras, size=(size, size))
    title = f"{Path(config.model).name} in {environment_id(config.env)}"
    return WallRecorder(films[0], grid, title, cameras=config.cameras, size=(size, size))


def _make_plan(config: RecordConfig, grid: tuple[int, int] | None) -> tuple[EpisodeSpec, ...]:
    tiles = grid[0] * grid[1] if grid else None
    plan = plan_seeds(config.seeds or range(tiles or _FEW_SEEDS))
    if tiles not in (None, len(plan)):
        raise SimScaleError(f"expected {tiles} seeds for a wall of {config.grid}, got {len(plan)}")
    return plan


def _parse_grid(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", text)
    if not match or int(match[1]) * int(match[2]) > _MOST_TILES:
        raise SimScaleError(
            f"expected --grid as rows x columns, such as 4x4, at most {_MOST_TILES} tiles; got {text!r}"
        )
    return int(match[1]), int(match[2])


def _check_views(config: RecordConfig, tiles: int) -> None:
    if not config.cameras:
        raise SimScaleError(f"expected at least 1 camera, got none; choose from: {', '.join(VIDEO_CAMERAS)}")
    for camera in config.cameras:
        if camera not in VIDEO_CAMERAS:
            raise UnknownNameError("camera", camera, VIDEO_CAMERAS)
    if config.size is not None and (config.size % 2 or config.size not in _SIZES):
        raise SimScaleError(f"expected an even --size from {_SIZES[0]} to {_SIZES[-1]} px, got {config.size}")
    pixels = tiles * len(config.cameras) * (config.size or TILE) ** 2
    if config.grid and pixels > _MOST_PIXELS:
        raise SimScaleError(
            f"a wall of {config.grid} would have {pixels:,} pixels, at most {_MOST_PIXELS:,}, since all its pictures "
            "are kept in memory; choose a smaller --size"
        )


def _make_place(config: RecordConfig, episodes: int) -> dict[int, Path]:
    """Return the film's path for each episode, of a wall one for all; create the folder."""
    file = config.output if config.output.suffix.lower() in FORMATS else None
    if file is None:
        create_folder(config.output)
        return {0: config.output / _WALL_FILE} if config.grid else video_paths(config.output, range(episodes))
    if episodes > 1 and not config.grid:
        raise SimScaleError(f"{file} is one film: expected one of --seeds, or --grid, got {episodes} episodes")
    if file.exists():
        raise SimScaleError(f"{file} exists; choose another --output or remove it first")
    return {0: file}


def _check_rendering(env: TaskVectorEnv, config: RecordConfig) -> None:
    """Draw once, so that a machine that cannot is found out before anything is written."""
    size = config.size or TILE
    env.render_frame(0, camera=config.cameras[0], size=(size, size))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code."""
    return run_command(RecordConfig, _record_and_judge, "python -m eval.record", arguments)


def _record_and_judge(config: RecordConfig) -> int:
    return EPISODE_ERRORS if any(result.status == "error" for result in record(config)) else COMPLETE


if __name__ == "__main__":
    sys.exit(main())
