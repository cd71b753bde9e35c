"""Writes an MP4 of chosen episodes."""

from __future__ import annotations

import os
from collections.abc import Collection, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from envs.interface import CONTROL_HZ
from eval.observers.base import Observer, Step
from eval.plan import EpisodeSpec
from eval.results import EpisodeResult

if TYPE_CHECKING:
    from envs.vector_env import TaskVectorEnv

_PARTIAL = ".partial-"
"""Begins the name of a video that is not complete."""


class VideoRecorder(Observer):
    """Films episodes in real time: one frame at the start and one after each control step, H.264 in MP4.

    A file appears under its name when its episode has ended and never before.
    """

    def __init__(
        self,
        folder: Path,
        episodes: Collection[int],
        *,
        camera: str = "front",
        size: tuple[int, int] = (480, 480),
    ) -> None:
        """Film into `folder`, which is created.

        Args:
            folder: Where `episode_<index>.mp4` will lie.
            episodes: Indices of the episodes to film.
            camera: Camera of the scene.
            size: Height and width [px], both even.
        """
        self._folder, self._episodes, self._camera, self._size = folder, frozenset(episodes), camera, size
        self._films: dict[int, _Film] = {}

    def on_run_start(self, env: TaskVectorEnv) -> None:
        """Create the folder."""
        self._env = env
        if self._episodes:
            self._folder.mkdir(parents=True, exist_ok=True)

    def on_episode_start(self, slot: int, spec: EpisodeSpec) -> None:
        """Film the first frame of a chosen episode."""
        if spec.episode_index in self._episodes:
            path = video_path(self._folder, spec.episode_index)
            self._films[slot] = _Film.begin(path, self._size)
            self._shoot(slot)

    def on_step(self, step: Step) -> None:
        """Film every chosen slot."""
        for slot in self._films:
            self._shoot(slot)

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """Finish the file."""
        film = self._films.pop(slot, None)
        if film:
            film.finish()

    def on_episode_abandoned(self, slot: int, spec: EpisodeSpec) -> None:
        """Remove what was filmed."""
        film = self._films.pop(slot, None)
        if film:
            film.discard()

    def _shoot(self, slot: int) -> None:
        self._films[slot].add(self._env.render_frame(slot, camera=self._camera, size=self._size))


def video_path(folder: Path, episode_index: int) -> Path:
    """Return where the video of an episode lies."""
    return folder / f"episode_{episode_index:06d}.mp4"


def remove_unfinished_videos(folder: Path) -> None:
    """Remove what processes that were killed while they filmed into `folder` left behind."""
    for path in folder.glob(f"{_PARTIAL}*"):
        path.unlink(missing_ok=True)


@dataclass
class _Film:
    """An MP4 being written under a temporary name."""

    path: Path
    temporary: Path
    encoder: Generator[None, bytes, None]

    @classmethod
    def begin(cls, path: Path, size: tuple[int, int]) -> _Film:
        from imageio_ffmpeg import write_frames

        temporary = path.with_name(f"{_PARTIAL}{path.name}")
        height, width = size
        encoder = write_frames(
            str(temporary), (width, height), fps=CONTROL_HZ, codec="libx264", quality=7, macro_block_size=2
        )
        encoder.send(None)
        return cls(path, temporary, encoder)

    def add(self, frame: NDArray[np.uint8]) -> None:
        self.encoder.send(np.ascontiguousarray(frame).tobytes())

    def finish(self) -> None:
        self.encoder.close()
        os.replace(self.temporary, self.path)

    def discard(self) -> None:
        self.encoder.close()
        self.temporary.unlink(missing_ok=True)
