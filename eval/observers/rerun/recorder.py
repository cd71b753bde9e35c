"""Records chosen episodes as files that the Rerun viewer (https://rerun.io) opens."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.slots import Begun, SlotEnv
from eval.episodes.observer import Observer, Step
from eval.episodes.plan import EpisodeSpec
from eval.episodes.results import EpisodeResult
from eval.observers.episode_trace import EpisodeTrace
from eval.observers.rerun.rrd_file import EpisodeContent, import_rerun, rrd_content
from simscaleai.contract import Needs, Observation
from simscaleai.files import replace_file

PICTURE_SIZE = (256, 256)
"""Height and width of the picture of one camera [px]. In a film, which shows one camera, it is larger."""

_FASTEST = 1  # compression of a PNG


class RerunRecorder(Observer):
    """Writes one `.rrd` file per chosen episode; `eval.observers.rerun.rrd_file` says what it holds."""

    def __init__(self, files: Mapping[int, Path], needs: Needs, policy: str) -> None:
        """Record the episodes with the indices in `files`.

        Args:
            files: Index of an episode to its file. Folders are created.
            needs: Needs of the policy. Its vectors are recorded, and the images that it gets.
            policy: Name of the policy, for the titles of the recordings.
        """
        self._files, self._looks, self._policy = dict(files), tuple(needs.cameras), policy
        self.needs = Needs(vectors=needs.vectors) if files else Needs()
        self._episodes: dict[int, EpisodeContent] = {}
        """Slot to what was collected about its running episode."""

    def on_run_start(self, env: SlotEnv) -> None:
        """Create the folders.

        Raises:
            SimScaleError: If an episode should be recorded, and the package is not installed.
        """
        self._env = env
        if self._files:
            import_rerun()
        for path in self._files.values():
            path.parent.mkdir(parents=True, exist_ok=True)

    def on_episode_start(self, slot: int, spec: EpisodeSpec, begun: Begun) -> None:
        """Start to collect a chosen episode: the pictures before its first step."""
        if spec.episode_index in self._files:
            trace = EpisodeTrace(self.needs, self._env.spec.action.size)
            self._episodes[slot] = EpisodeContent(begun, trace)
            self._take_pictures(slot)

    def on_look(self, slots: NDArray[np.intp], observation: Observation) -> None:
        """Keep the images that the policy gets; of a history, the newest."""
        for row, slot in enumerate(slots.tolist()):
            if slot in self._episodes:
                images = {camera: observation[camera][row] for camera in self._looks}
                newest = {camera: image.reshape(-1, *image.shape[-3:])[-1] for camera, image in images.items()}
                self._episodes[slot].add_look({camera: _png(image) for camera, image in newest.items()})

    def on_step(self, step: Step) -> None:
        """Add the step to each chosen episode, and the pictures after it."""
        for row, slot in enumerate(step.slots.tolist()):
            if slot in self._episodes:
                self._episodes[slot].trace.add(step.values_of(row), step.chunks.get(slot))
                self._take_pictures(slot)

    def on_episode_end(self, slot: int, result: EpisodeResult) -> None:
        """Write the file."""
        content = self._episodes.pop(slot, None)
        if content:
            data = rrd_content(content, result, self._env.spec, self._policy)
            replace_file(self._files[result.episode_index], data)

    def on_episode_abandoned(self, slot: int, spec: EpisodeSpec) -> None:
        """Drop what was collected."""
        self._episodes.pop(slot, None)

    def _take_pictures(self, slot: int) -> None:
        cameras = self._env.spec.film_cameras
        pictures = {camera: self._env.frame(slot, camera, PICTURE_SIZE) for camera in cameras}
        self._episodes[slot].pictures.append({camera: _png(picture) for camera, picture in pictures.items()})


def _png(image: NDArray[np.uint8]) -> bytes:
    """Return an image (H, W, 3) as a PNG file, which loses nothing."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "PNG", compress_level=_FASTEST)
    return buffer.getvalue()
