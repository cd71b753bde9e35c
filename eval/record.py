"""Films episodes of a policy.

python -m eval.record --model vla --env pick-place --seeds 0 1 2 --output videos/
python -m eval.record --model vla --env pick-place --grid 4x4 --output wall.mp4
"""

from __future__ import annotations

import mimetypes
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path

from envs.choices import EnvironmentFlags
from envs.registration import Registration, find_environment
from envs.slots import SlotEnv
from eval.episodes.loop import rollout
from eval.episodes.observer import Observer
from eval.episodes.plan import EpisodeSpec, over_tasks, plan_seeds, plan_text
from eval.episodes.pulse import Pulse
from eval.episodes.results import EpisodeResult
from eval.execution.assembly import build_environment, build_policy, closing
from eval.execution.watchdog import Watchdog
from eval.observers.film.video import PICTURE_SIZE, VideoRecorder, check_drawing, film_cameras, outcome_of
from eval.observers.film.video_file import FORMATS, check_encoder, partial_path
from eval.observers.film.wall import TILE_SIZE, WallRecorder
from eval.observers.progress import Progress
from eval.probing.perturbations import Perturbations
from eval.probing.probe_axes import check_effects, perturbation_probes, read_perturbations
from eval.runs.media_paths import video_paths
from eval.terminal.command import COMPLETE, EPISODE_ERRORS, run_command
from eval.terminal.console import Console
from policies.base import Policy
from policies.options import PolicyFlags, parse_options
from simscaleai.command_line import raise_at_interrupt
from simscaleai.contract import EnvSpec
from simscaleai.errors import SimScaleError
from simscaleai.files import check_new_folder, locked

_MOST_AT_ONCE = 4
"""Number of videos that are written at the same time. Each has an encoder process."""

_MOST_TILES = 100
_MOST_PIXELS = 2_600_000
"""Largest number of pixels in a frame of a wall. All frames are kept in memory: 1.2 GB for 150 steps."""

_FEW_SEEDS = 3
_SIZES = range(32, 1921)
_WALL_FILE = "wall.mp4"


@dataclass(frozen=True, kw_only=True)
class RecordConfig(EnvironmentFlags, PolicyFlags):
    """Film a policy: one video for each seed, or one wall of many episodes."""

    model: str
    """Policy to film; any --model of eval.rollout."""
    output: Path
    """Folder for the MP4 files, new or empty. For one seed or a wall, it may be a file that ends in .mp4 or .gif."""
    checkpoint: Path | None = None
    """Folder with the weights of --model; by default the shipped ones."""
    seeds: tuple[int, ...] = ()
    """Seeds of the episodes; by default 0, 1, 2, and for a wall one seed per tile, from 0."""
    perturb: tuple[str, ...] = ()
    """Perturb every episode, as in eval.rollout: light=3, camera.azimuth=15deg."""
    delay: int = 0
    """Latency of the policy in control steps, as in eval.rollout."""
    cameras: tuple[str, ...] = ()
    """Cameras to show, side by side; the tabletop environments have overview, front and wrist. By default the first
    camera of the environment."""
    size: int | None = None
    """Height and width of the picture of one camera [px], an even number; by default 480, in a wall 160."""
    grid: str | None = None
    """Rows and columns of a wall of many episodes in one video, for example 4x4."""
    quiet: bool = False
    """Print only errors, no progress."""


@dataclass(frozen=True)
class _Filming:
    """A checked configuration."""

    config: RecordConfig
    spec: EnvSpec
    grid: tuple[int, int] | None
    cameras: tuple[str, ...]
    perturbations: Perturbations
    plan: tuple[EpisodeSpec, ...]
    home: Path
    """Working directory of the user. A policy may change that of the process."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture of one camera [px]."""
        side = self.config.size or (PICTURE_SIZE if self.grid is None else TILE_SIZE)
        return side, side

    @property
    def num_slots(self) -> int:
        """Number of episodes at the same time."""
        return min(_MOST_AT_ONCE, len(self.plan)) if self.grid is None else len(self.plan)

    @property
    def file(self) -> Path | None:
        """Path of the only video if --output names a file; None if it names a folder."""
        output = self.config.output
        return output if _is_film(output) else None

    def paths(self) -> dict[int, Path]:
        """Return the path of the video of each episode, by episode index. A wall has one path, with index 0."""
        if self.file:
            return {0: self.file}
        folder = self.config.output
        return {0: folder / _WALL_FILE} if self.grid else video_paths(folder, range(len(self.plan)))

    def recorder(self) -> Observer:
        """Return the observer that films."""
        paths = {index: self.home / path for index, path in self.paths().items()}
        if self.grid is None:
            return VideoRecorder(paths, cameras=self.cameras, size=self.size)
        title = f"{Path(self.config.model).name} in {self.spec.env_id}"
        return WallRecorder(paths[0], self.grid, title, cameras=self.cameras, size=self.size)


def record(config: RecordConfig) -> list[EpisodeResult]:
    """Film the episodes, print path and outcome of each video, and return the results.

    Raises:
        SimScaleError: If the configuration is wrong, or the environment cannot be filmed.
    """
    registration = find_environment(config.environment)
    filming = _check(config, registration)
    with chdir("."):  # the user's working directory afterwards, wherever the policy goes
        policy = build_policy(config.model, config.checkpoint, filming.spec, parse_options(config.policy_option))
        with closing(build_environment(registration, [policy.needs], filming.num_slots), policy) as env:
            _check_effects(filming, policy)
            check_encoder()
            check_drawing(env, filming.plan[0], filming.cameras, filming.size)
            raise_at_interrupt()
            with _output(filming):
                return _film(filming, env, policy)


def _film(filming: _Filming, env: SlotEnv, policy: Policy) -> list[EpisodeResult]:
    config, folder = filming.config, filming.paths()[0].parent
    console = Console(config.quiet)
    console.say(f"{config.model} in {env.spec.env_id}: {plan_text(filming.plan)}; videos in {folder}")
    shown = [] if config.quiet else [Progress(len(filming.plan))]
    pulse = Pulse()
    with Watchdog(pulse, folder, inf):
        probes = perturbation_probes(policy.needs, env.spec)
        results = rollout(env, policy, filming.plan, [filming.recorder(), *shown], probes=probes, pulse=pulse)
    console.say(*_result_lines(filming, results))
    return results


def _check(config: RecordConfig, registration: Registration) -> _Filming:
    spec = registration.offer()
    cameras = film_cameras(spec, config.cameras)
    grid = None if config.grid is None else _parse_grid(config.grid)
    if config.size is not None and (config.size % 2 or config.size not in _SIZES):
        raise SimScaleError(f"expected an even --size from {_SIZES[0]} to {_SIZES[-1]} px, got {config.size}")
    perturbations = read_perturbations(config.perturb, config.delay, spec)
    plan = perturbations.planned(over_tasks(_plan(config, grid), registration.tasks))
    filming = _Filming(config, spec, grid, cameras, perturbations, plan, Path.cwd())
    if grid and registration.tasks:
        raise SimScaleError(f"expected one task for --grid, got {len(registration.tasks)}; film each task alone")
    if grid:
        _check_wall_size(filming)
    if filming.file and len(filming.plan) > 1 and not grid:
        raise SimScaleError(
            f"{filming.file} is one video: expected one seed or --grid, got {len(filming.plan)} episodes"
        )
    _check_output(config.output)
    return filming


def _check_effects(filming: _Filming, policy: Policy) -> None:
    """Check that every perturbation changes something: looks are filmed, all else must concern the policy."""
    axes = [axis for axis in filming.perturbations.axes if axis.changes != "looks"]
    check_effects(axes, [policy.needs], filming.spec)


def _is_film(path: Path) -> bool:
    return path.suffix.lower() in FORMATS


def _parse_grid(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", text)
    if not match or int(match[1]) * int(match[2]) > _MOST_TILES:
        raise SimScaleError(
            f"expected --grid as rows x columns, such as 4x4, at most {_MOST_TILES} tiles; got {text!r}"
        )
    return int(match[1]), int(match[2])


def _plan(config: RecordConfig, grid: tuple[int, int] | None) -> tuple[EpisodeSpec, ...]:
    tiles = grid[0] * grid[1] if grid else None
    plan = plan_seeds(config.seeds or range(tiles or _FEW_SEEDS))
    if tiles not in (None, len(plan)):
        raise SimScaleError(f"expected {tiles} seeds for a wall of {config.grid}, got {len(plan)}")
    return plan


def _check_wall_size(filming: _Filming) -> None:
    height, width = filming.size
    pixels = len(filming.plan) * len(filming.cameras) * height * width
    if pixels > _MOST_PIXELS:
        raise SimScaleError(
            f"a wall of {filming.config.grid} would have {pixels:,} pixels, at most {_MOST_PIXELS:,}, since all its "
            "pictures are kept in memory; choose a smaller --size"
        )


def _check_output(output: Path) -> None:
    """Check that the file or folder `output` can be made."""
    kind, _ = mimetypes.guess_type(output.name)
    if _is_film(output):
        if output.exists():
            raise SimScaleError(f"{output} exists; choose another --output or remove it first")
    elif kind is not None and kind.startswith(("video/", "image/")):
        raise SimScaleError(
            f"expected --output as a folder, or a file that ends in {' or '.join(FORMATS)}, got {output}"
        )
    else:
        check_new_folder(output)


@contextmanager
def _output(filming: _Filming) -> Iterator[None]:
    """Create and lock the output until the block ends: the folder of the videos, or the only video's temporary file."""
    output = filming.home / filming.config.output
    target = partial_path(output) if filming.file else output
    target.parent.mkdir(parents=True, exist_ok=True)
    if filming.file:
        target.touch()
    else:
        target.mkdir(exist_ok=True)
    with locked(target):
        try:
            _check_output(output)  # again: another process may have written there in the meantime
            yield
        finally:
            if filming.file:
                target.unlink(missing_ok=True)


def _result_lines(filming: _Filming, results: Sequence[EpisodeResult]) -> list[str]:
    paths = filming.paths()
    names = {index: "" if filming.grid else f"{path}  " for index, path in paths.items()}
    lines = [
        f"{names.get(result.episode_index, '')}seed {result.seed}: {outcome_of(result)} after {result.steps} steps"
        for result in results
    ]
    if filming.grid:
        successes = sum(result.status == "success" for result in results)
        lines.append(f"{paths[0]}  {successes} of {len(results)} succeeded")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` and return the exit code."""
    return run_command(RecordConfig, _run_command, "python -m eval.record", arguments)


def _run_command(config: RecordConfig) -> int:
    return EPISODE_ERRORS if any(result.status == "error" for result in record(config)) else COMPLETE


if __name__ == "__main__":
    sys.exit(main())
