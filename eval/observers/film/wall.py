"""Films many episodes in one video, as the tiles of a grid (a video wall)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.slots import Begun, SlotEnv
from eval.episodes.observer import Observer, Step
from eval.episodes.plan import EpisodeSpec
from eval.episodes.results import EpisodeResult
from eval.observers.film.overlay import SUCCESS, Caption, with_caption, with_frame, with_line
from eval.observers.film.video import film_cameras, outcome_of, picture_of
from eval.observers.film.video_file import open_video
from simscaleai.contract import ImageSize

TILE_SIZE = 160
"""Default height and width of the picture of one camera in a tile [px]."""

_FRAME = 4  # thickness of the frame around a tile [px]


class WallRecorder(Observer):
    """Films all episodes of a run as tiles. All tiles start together, and each keeps its last picture until the end.

    The colour of a tile's frame shows the outcome. The line below the picture shows the instruction, or the class of
    the failure.

    All pictures stay in memory until the last episode has ended. The video is written then.
    """

    def __init__(
        self,
        path: Path,
        grid: tuple[int, int],
        title: str,
        *,
        cameras: Sequence[str] = (),
        size: ImageSize = (TILE_SIZE, TILE_SIZE),
    ) -> None:
        """Film the episodes 0 to rows · columns - 1, row by row.

        Args:
            path: The video, MP4 or GIF. Its folder is created.
            grid: Rows and columns.
            title: Title in the bar below the wall.
            cameras: Cameras of `EnvSpec.film_cameras`, side by side in each tile; by default the first one.
            size: Height and width of the picture of one camera [px], both even.
        """
        self._path, self._grid, self._title, self._chosen, self._size = path, grid, title, tuple(cameras), size
        self._running: dict[int, list[NDArray[np.uint8]]] = {}
        """Slot to the pictures of its running episode."""
        self._ended: dict[int, tuple[list[NDArray[np.uint8]], EpisodeResult]] = {}
        """Index of an ended episode to its pictures and its result."""

    def on_run_start(self, env: SlotEnv) -> None:
        """Create the folder.

        Raises:
            SimScaleError: If the environment does not have the cameras.
        """
        self._env, self._cameras = env, film_cameras(env.spec, self._chosen)
        self._path.parent.mkdir(parents=True, exist_ok=True)

    def on_episode_start(self, slot: int, spec: EpisodeSpec, begun: Begun) -> None:
        """Take the first picture."""
        self._running[slot] = [self._picture(slot)]

    def on_step(self, step: Step) -> None:
        """Take a picture of every running slot."""
        for slot in step.slots.tolist():
            self._running[slot].append(self._picture(slot))

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """Keep the pictures."""
        # An episode that could not begin has no picture; the current picture of the slot fills its tile.
        self._ended[result.episode_index] = self._running.pop(slot, []) or [self._picture(slot)], result

    def on_episode_abandoned(self, slot: int, spec: EpisodeSpec) -> None:
        """Drop the pictures."""
        self._running.pop(slot, None)

    def on_run_end(self, results: Sequence[EpisodeResult]) -> None:
        """Write the video."""
        video = open_video(self._path, self._env.spec.control_hz)
        try:
            for step in range(max(len(pictures) for pictures, _ in self._ended.values())):
                video.add(self._wall(step))
            video.finish()
        except BaseException:  # also an interruption: no incomplete file may stay
            video.discard()
            raise

    def _picture(self, slot: int) -> NDArray[np.uint8]:
        return picture_of(self._env, slot, self._cameras, self._size)

    def _wall(self, step: int) -> NDArray[np.uint8]:
        """Return the wall after `step` control steps."""
        rows, columns = self._grid
        tiles = [self._tile(index, step) for index in range(rows * columns)]
        wall = np.vstack([np.hstack(tiles[row * columns : (row + 1) * columns]) for row in range(rows)])
        outcomes = [outcome_of(result) for pictures, result in self._ended.values() if step >= len(pictures) - 1]
        status = f"{outcomes.count(SUCCESS)} of {len(self._ended)} succeeded"
        limit = self._env.spec.max_episode_steps
        return with_caption(wall, Caption(title=self._title, step=step, limit=limit, status=status))

    def _tile(self, index: int, step: int) -> NDArray[np.uint8]:
        pictures, result = self._ended[index]
        last = len(pictures) - 1
        outcome = outcome_of(result) if step >= last else None
        words = result.instruction if outcome in (None, SUCCESS) else outcome.replace("_", " ")
        return with_frame(with_line(pictures[min(step, last)], words, outcome), outcome, _FRAME)
