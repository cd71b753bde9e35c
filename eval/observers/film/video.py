"""Films chosen episodes, one video file each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.slots import Begun, SlotEnv, Start
from eval.episodes.observer import Observer, Step
from eval.episodes.plan import EpisodeSpec
from eval.episodes.results import EpisodeResult
from eval.observers.film.overlay import SUCCESS, Caption, side_by_side, with_caption
from eval.observers.film.video_file import VideoFile, open_video
from simscaleai.contract import EnvSpec, ImageSize
from simscaleai.errors import SimScaleError, UnknownNameError, exception_text

PICTURE_SIZE = 480
"""Default height and width of the picture of one camera [px]."""


class VideoRecorder(Observer):
    """Films episodes in real time: one frame at the start and one after each control step.

    A bar below the picture shows the instruction, the time that has passed with a tick whenever the policy was asked,
    and the outcome. Until its episode ends, a file has a temporary name.
    """

    def __init__(
        self,
        videos: Mapping[int, Path],
        *,
        cameras: Sequence[str] = (),
        size: ImageSize = (PICTURE_SIZE, PICTURE_SIZE),
    ) -> None:
        """Film the episodes with the indices in `videos`.

        Args:
            videos: Index of an episode to its video file, MP4 or GIF. Folders are created.
            cameras: Cameras of `EnvSpec.film_cameras`, shown side by side; by default the first one.
            size: Height and width of the picture of one camera [px], both even.
        """
        self._videos, self._chosen, self._size = dict(videos), tuple(cameras), size
        self._episodes: dict[int, _EpisodeVideo] = {}
        """Slot to the video of its running episode."""

    def on_run_start(self, env: SlotEnv) -> None:
        """Create the folders.

        Raises:
            SimScaleError: If an episode should be filmed, and the environment does not have the cameras.
        """
        self._env = env
        if self._videos:
            self._cameras = film_cameras(env.spec, self._chosen)
        for path in self._videos.values():
            path.parent.mkdir(parents=True, exist_ok=True)

    def on_episode_start(self, slot: int, spec: EpisodeSpec, begun: Begun) -> None:
        """Start the video of a chosen episode."""
        if spec.episode_index in self._videos:
            env = self._env.spec
            video = open_video(self._videos[spec.episode_index], env.control_hz)
            title = begun.instruction if env.has_instructions else env.env_id
            self._episodes[slot] = _EpisodeVideo(video, title, env.max_episode_steps, self._picture(slot))

    def on_step(self, step: Step) -> None:
        """Add a frame to the video of each chosen episode."""
        for row, slot in enumerate(step.slots.tolist()):
            if slot in self._episodes:
                asked, success = slot in step.chunks, bool(step.success[row])
                self._episodes[slot].add_step(self._picture(slot), asked=asked, success=success)

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """Complete the file."""
        episode = self._episodes.pop(slot, None)
        if episode:
            episode.finish(result)

    def on_episode_abandoned(self, slot: int, spec: EpisodeSpec) -> None:
        """Remove the file."""
        episode = self._episodes.pop(slot, None)
        if episode:
            episode.video.discard()

    def _picture(self, slot: int) -> NDArray[np.uint8]:
        return picture_of(self._env, slot, self._cameras, self._size)


def film_cameras(spec: EnvSpec, chosen: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the cameras to film with: `chosen`, or the default of the environment.

    Raises:
        SimScaleError: If the environment cannot be filmed.
        UnknownNameError: If the environment has no such camera.
    """
    if not spec.film_cameras:
        raise SimScaleError(
            f"{spec.env_id} has no camera for videos; choose an environment that has one (an environment of Gymnasium "
            "needs the render mode rgb_array)"
        )
    for camera in chosen:
        if camera not in spec.film_cameras:
            raise UnknownNameError("camera", camera, spec.film_cameras)
    return tuple(chosen) or spec.film_cameras[:1]


def check_drawing(env: SlotEnv, spec: EpisodeSpec, cameras: Sequence[str], size: ImageSize) -> None:
    """Draw pictures of the start of the episode `spec`, before a run writes anything.

    Raises:
        SimScaleError: If the environment cannot be drawn on this machine.
    """
    try:
        env.reset(np.array([0], dtype=np.intp), [Start(spec.seed, spec.start_options)])
    except SimScaleError:
        raise
    except (Exception, SystemExit):  # a fault of one episode, which the run counts as an error
        return
    try:
        picture_of(env, 0, cameras, size)
    except SimScaleError:
        raise
    except (Exception, SystemExit) as error:
        raise SimScaleError(
            f"{env.spec.env_id} cannot be drawn ({exception_text(error)}); leave out films and recordings"
        ) from error


def picture_of(env: SlotEnv, slot: int, cameras: Sequence[str], size: ImageSize) -> NDArray[np.uint8]:
    """Return the views of `slot` from `cameras` side by side, each with height and width `size` [px]."""
    return side_by_side([env.frame(slot, camera, size) for camera in cameras])


def outcome_of(result: EpisodeResult) -> str:
    """Return how an episode ended, as captions show it: `SUCCESS` or the class of the failure."""
    return SUCCESS if result.status == "success" else result.failure or result.status


@dataclass
class _EpisodeVideo:
    """The video of a running episode."""

    video: VideoFile
    title: str
    limit: int
    picture: NDArray[np.uint8]
    """Newest picture. It is added to the video at the next call, which tells whether the policy was asked at this step
    or the episode has ended."""
    step: int = 0
    looks: list[int] = field(default_factory=list)
    success: bool = False

    def add_step(self, picture: NDArray[np.uint8], *, asked: bool, success: bool) -> None:
        """Add a control step that led to `picture`."""
        if asked:
            self.looks.append(self.step)
        self._add_frame(SUCCESS if self.success else None)
        self.step, self.picture, self.success = self.step + 1, picture, success

    def finish(self, result: EpisodeResult) -> None:
        """Add the last frame, which shows the outcome, and complete the file."""
        self._add_frame(outcome_of(result))
        self.video.finish()

    def _add_frame(self, outcome: str | None) -> None:
        caption = Caption(title=self.title, step=self.step, limit=self.limit, looks=self.looks, outcome=outcome)
        self.video.add(with_caption(self.picture, caption))
