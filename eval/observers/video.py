"""Films chosen episodes, one file each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from envs.rendering import OVERVIEW
from eval.film import Film, open_film
from eval.observers.base import Observer, Step
from eval.overlay import SUCCESS, Caption, side_by_side, with_caption
from eval.plan import EpisodeSpec
from eval.results import EpisodeResult

if TYPE_CHECKING:
    from envs.vector_env import TaskVectorEnv

SIZE = 480
"""Height and width of what one camera sees [px], unless said otherwise."""


class VideoRecorder(Observer):
    """Films episodes in real time: one frame at the start and one after each control step.

    Below the picture stand the instruction, a strip of the time that has passed with a tick wherever the policy looked,
    and how it ended. A file appears under its name when its episode has ended and never before.
    """

    def __init__(
        self, films: Mapping[int, Path], *, cameras: Sequence[str] = (OVERVIEW,), size: tuple[int, int] = (SIZE, SIZE)
    ) -> None:
        """Film the episodes with the indices in `films`.

        Args:
            films: Index of an episode to the file of its film, MP4 or GIF; folders are created.
            cameras: Cameras of `envs.rendering.VIDEO_CAMERAS`, side by side.
            size: Height and width of what one camera sees [px], both even.
        """
        self._films, self._cameras, self._size = dict(films), tuple(cameras), size
        self._takes: dict[int, _Take] = {}

    def on_run_start(self, env: TaskVectorEnv) -> None:
        """Create the folders."""
        self._env = env
        for path in self._films.values():
            path.parent.mkdir(parents=True, exist_ok=True)

    def on_episode_start(self, slot: int, spec: EpisodeSpec) -> None:
        """Take the first picture of a chosen episode."""
        if spec.episode_index in self._films:
            film, limit = open_film(self._films[spec.episode_index]), self._env.contract.max_episode_steps
            self._takes[slot] = _Take(film, limit, self._shoot(slot))

    def on_step(self, step: Step) -> None:
        """Film every chosen slot."""
        for slot, take in self._takes.items():
            take.go_on(
                self._shoot(slot),
                str(step.info["instruction"][slot]),
                looked=bool(step.looking[slot]),
                success=bool(step.info["success"][slot]),
            )

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """Finish the file."""
        take = self._takes.pop(slot, None)
        if take:
            take.end(result)

    def on_episode_abandoned(self, slot: int, spec: EpisodeSpec) -> None:
        """Remove what was filmed."""
        take = self._takes.pop(slot, None)
        if take:
            take.film.discard()

    def _shoot(self, slot: int) -> NDArray[np.uint8]:
        return shoot(self._env, slot, self._cameras, self._size)


def shoot(env: TaskVectorEnv, slot: int, cameras: Sequence[str], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return what `cameras` see of `slot`, side by side; height and width of each camera's picture are `size` [px]."""
    return side_by_side([env.render_frame(slot, camera=camera, size=size) for camera in cameras])


def video_path(folder: Path, episode_index: int) -> Path:
    """Return where the video of an episode lies."""
    return folder / f"episode_{episode_index:06d}.mp4"


def video_paths(folder: Path, episodes: Collection[int]) -> dict[int, Path]:
    """Return where the videos of `episodes` lie."""
    return {index: video_path(folder, index) for index in episodes}


def outcome_of(result: EpisodeResult) -> str:
    """Return how an episode ended, as captions say it."""
    return SUCCESS if result.status == "success" else result.failure or result.status


@dataclass
class _Take:
    """The film of an episode that is running."""

    film: Film
    limit: int
    picture: NDArray[np.uint8]
    """Not in the film yet: only what follows says whether the policy looked at it, or that it was the last."""
    step: int = 0
    looks: list[int] = field(default_factory=list)
    success: bool = False

    def go_on(self, picture: NDArray[np.uint8], instruction: str, *, looked: bool, success: bool) -> None:
        """Take a control step that led to `picture`."""
        if looked:
            self.looks.append(self.step)
        self._add(instruction, SUCCESS if self.success else None)
        self.step, self.picture, self.success = self.step + 1, picture, success

    def end(self, result: EpisodeResult) -> None:
        """Finish the film with how it ended."""
        self._add(result.instruction, outcome_of(result))
        self.film.finish()

    def _add(self, instruction: str, outcome: str | None) -> None:
        caption = Caption(title=instruction, step=self.step, limit=self.limit, looks=self.looks, outcome=outcome)
        self.film.add(with_caption(self.picture, caption))
