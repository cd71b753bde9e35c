"""Films many episodes on one wall: they start together, and each tile keeps its last picture until all have ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from envs.rendering import OVERVIEW
from eval.film import open_film
from eval.observers.base import Observer, Step
from eval.observers.video import outcome_of, shoot
from eval.overlay import SUCCESS, Caption, with_caption, with_frame, with_line
from eval.plan import EpisodeSpec
from eval.results import EpisodeResult

if TYPE_CHECKING:
    from envs.vector_env import TaskVectorEnv

TILE = 160
"""Height and width of what one camera sees in a tile [px], unless said otherwise."""

_FRAME = 4  # thickness of the frame around a tile [px]


class WallRecorder(Observer):
    """Films all episodes of a run, as the tiles of one film; a tile's frame tells how its episode ended.

    Below each picture stands the instruction, and how it went wrong if it did.

    The pictures stay in memory until the last episode has ended; then the film appears, complete.
    """

    def __init__(
        self,
        path: Path,
        grid: tuple[int, int],
        title: str,
        *,
        cameras: Sequence[str] = (OVERVIEW,),
        size: tuple[int, int] = (TILE, TILE),
    ) -> None:
        """Film episodes 0 to rows · columns − 1, row by row.

        Args:
            path: The film, MP4 or GIF; its folder is created.
            grid: Rows and columns.
            title: What the caption says.
            cameras: Cameras of `envs.rendering.VIDEO_CAMERAS`, side by side in each tile.
            size: Height and width of what one camera sees [px], both even.
        """
        self._path, self._grid, self._title, self._cameras, self._size = path, grid, title, tuple(cameras), size
        self._running: dict[int, list[NDArray[np.uint8]]] = {}
        """Slot to the pictures so far."""
        self._tiles: dict[int, tuple[list[NDArray[np.uint8]], EpisodeResult]] = {}
        """Index of an ended episode to its pictures and how it ended."""

    def on_run_start(self, env: TaskVectorEnv) -> None:
        """Create the folder."""
        self._env = env
        self._path.parent.mkdir(parents=True, exist_ok=True)

    def on_episode_start(self, slot: int, spec: EpisodeSpec) -> None:
        """Take the first picture."""
        self._running[slot] = [self._shoot(slot)]

    def on_step(self, step: Step) -> None:
        """Take a picture of every slot that is running."""
        for slot, pictures in self._running.items():
            pictures.append(self._shoot(slot))

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """Keep the tile."""
        self._tiles[result.episode_index] = self._running.pop(slot), result

    def on_episode_abandoned(self, slot: int, spec: EpisodeSpec) -> None:
        """Forget the pictures."""
        self._running.pop(slot, None)

    def on_run_end(self, results: Sequence[EpisodeResult]) -> None:
        """Make the film."""
        film = open_film(self._path)
        try:
            for step in range(max(len(pictures) for pictures, _ in self._tiles.values())):
                film.add(self._compose(step))
            film.finish()
        except BaseException:  # whatever it is, also an interruption: nothing half-written stays
            film.discard()
            raise

    def _shoot(self, slot: int) -> NDArray[np.uint8]:
        return shoot(self._env, slot, self._cameras, self._size)

    def _compose(self, step: int) -> NDArray[np.uint8]:
        """Return the wall as it is after `step` control steps."""
        rows, columns = self._grid
        tiles = [self._tile(index, step) for index in range(rows * columns)]
        wall = np.vstack([np.hstack(tiles[row * columns : (row + 1) * columns]) for row in range(rows)])
        ended = [outcome_of(result) for pictures, result in self._tiles.values() if step >= len(pictures) - 1]
        status = f"{ended.count(SUCCESS)} of {len(self._tiles)} succeeded"
        limit = self._env.contract.max_episode_steps
        return with_caption(wall, Caption(title=self._title, step=step, limit=limit, status=status))

    def _tile(self, index: int, step: int) -> NDArray[np.uint8]:
        pictures, result = self._tiles[index]
        last = len(pictures) - 1
        outcome = outcome_of(result) if step >= last else None
        words = result.instruction if outcome in (None, SUCCESS) else outcome.replace("_", " ")
        return with_frame(with_line(pictures[min(step, last)], words, outcome), outcome, _FRAME)
