"""Video files: H.264 in MP4 for players and browsers, GIF for pages that cannot play MP4.

Until a file is complete, it has a temporary name in the same folder.
"""

from __future__ import annotations

import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simscaleai.errors import SimScaleError

Encoder = Generator[None, bytes | None, None]
"""Takes frames; `close` completes the file, without saying whether that succeeded."""

FORMATS = (".mp4", ".gif")
"""File name extensions of the supported formats."""

GIF_BYTES = 3_000_000
"""Largest size of a GIF by default, small enough for a page of documentation."""

_PARTIAL = ".partial-"
"""Start of the name of a video that is not complete."""

_GIF_QUALITIES = ((1, 256, 1.0), (2, 256, 1.0), (2, 64, 1.0), (2, 64, 0.75), (4, 64, 0.5), (4, 32, 0.25))
"""Qualities of a GIF, the best first: use every n-th frame, number of colours, scale of height and width."""

_LAST_FRAME = 1.5  # how long a GIF shows its last frame before it starts again [s]


class VideoFile(ABC):
    """A video file that is being written."""

    def __init__(self, path: Path, fps: float) -> None:
        """Start to write the video `path`, in an existing folder, with `fps` frames per second."""
        self.path, self._fps = path, fps
        self._temporary = partial_path(path)

    @abstractmethod
    def add(self, frame: NDArray[np.uint8]) -> None:
        """Add a frame (H, W, 3). Height and width are even, and the same for all frames."""

    @abstractmethod
    def finish(self) -> None:
        """Complete the file and give it its name.

        Raises:
            SimScaleError: If the file cannot be completed.
        """

    def discard(self) -> None:
        """Remove what was written."""
        with suppress(OSError):  # which would hide the reason for the removal
            self._temporary.unlink()

    def _send(self, encoder: Encoder, frame: NDArray[np.uint8]) -> None:
        try:
            encoder.send(frame.tobytes())
        except OSError as error:
            raise self._fail() from error

    def _fail(self) -> SimScaleError:
        """Remove what was written and return the error to raise."""
        self.discard()
        return SimScaleError(f"cannot complete {self.path}: the video encoder stopped; is the disk full?")


def open_video(path: Path, fps: float, *, gif_bytes: int = GIF_BYTES) -> VideoFile:
    """Start a video in the format of its file name extension, one of `FORMATS`.

    Args:
        path: The file, in an existing folder.
        fps: Frames per second.
        gif_bytes: Size of a GIF above which its frames, colours and pixels are reduced.
    """
    return _Gif(path, fps, gif_bytes) if path.suffix.lower() == ".gif" else _Mp4(path, fps)


def check_encoder() -> None:
    """Run the video encoder without a video.

    Raises:
        SimScaleError: If it is missing or does not run.
    """
    from imageio_ffmpeg import get_ffmpeg_version

    try:
        get_ffmpeg_version()
    except (OSError, RuntimeError, SubprocessError) as error:
        raise _no_encoder(error) from error


def _no_encoder(error: Exception) -> SimScaleError:
    reason = " ".join(str(error).split())
    return SimScaleError(f"cannot run ffmpeg ({reason}); reinstall imageio-ffmpeg, or correct IMAGEIO_FFMPEG_EXE")


def partial_path(path: Path) -> Path:
    """Return the temporary path of the video `path`."""
    return path.with_name(f"{_PARTIAL}{path.name}")


def remove_partial_videos(folder: Path) -> None:
    """Remove the incomplete videos that killed processes left in `folder`."""
    for path in folder.glob(f"{_PARTIAL}*"):
        path.unlink(missing_ok=True)


class _Mp4(VideoFile):
    """H.264, yuv420p, with the index at the front, so that browsers can start to play at once."""

    def __init__(self, path: Path, fps: float) -> None:
        super().__init__(path, fps)
        self._encoder: Encoder | None = None

    def add(self, frame: NDArray[np.uint8]) -> None:
        if self._encoder is None:
            options = {"quality": 7, "macro_block_size": 2, "output_params": ["-movflags", "+faststart"]}
            self._encoder = _start_encoder(self._temporary, frame, self._fps, codec="libx264", **options)
        self._send(self._encoder, frame)

    def finish(self) -> None:
        self._close_encoder()
        if not _is_complete_mp4(self._temporary):
            raise self._fail()
        os.replace(self._temporary, self.path)

    def discard(self) -> None:
        self._close_encoder()
        super().discard()

    def _close_encoder(self) -> None:
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None


class _Gif(VideoFile):
    """A GIF with one palette, in the best quality within the size limit. The last frame is shown longer than others."""

    def __init__(self, path: Path, fps: float, most_bytes: int) -> None:
        super().__init__(path, fps)
        self._most_bytes = most_bytes
        self._frames: list[NDArray[np.uint8]] = []

    def add(self, frame: NDArray[np.uint8]) -> None:
        self._frames.append(frame)

    def finish(self) -> None:
        for quality in _GIF_QUALITIES:
            self._write(*quality)
            if not _is_complete_gif(self._temporary):
                raise self._fail()
            if self._temporary.stat().st_size <= self._most_bytes:
                break
        os.replace(self._temporary, self.path)

    def _write(self, stride: int, colours: int, scale: float) -> None:
        frames = self._frames[::-stride][::-1]  # always includes the last frame, which shows the outcome
        # Ordered dithering leaves resting pixels exactly as they are, so they take no space.
        graph = (
            f"scale=iw*{scale}:-1:flags=lanczos,split[a][b];[a]palettegen=max_colors={colours - 1}[p];"
            "[b][p]paletteuse=dither=bayer:bayer_scale=4:diff_mode=rectangle"
        )
        encoder = _start_encoder(
            self._temporary,
            frames[0],
            self._fps / stride,
            codec="gif",
            quality=None,
            pix_fmt_out="pal8",
            macro_block_size=1,
            output_params=["-filter_complex", graph, "-final_delay", str(round(100 * _LAST_FRAME)), "-f", "gif"],
        )
        for frame in frames:
            self._send(encoder, frame)
        encoder.close()


def _start_encoder(path: Path, frame: NDArray[np.uint8], fps: float, **options: Any) -> Encoder:
    """Start an encoder that writes `path`, for frames of the size of `frame`."""
    from imageio_ffmpeg import write_frames

    height, width = frame.shape[:2]
    encoder: Encoder = write_frames(str(path), (width, height), fps=fps, ffmpeg_log_level="error", **options)
    try:
        encoder.send(None)
    except (OSError, RuntimeError) as error:
        raise _no_encoder(error) from error
    return encoder


def _is_complete_mp4(path: Path) -> bool:
    """Return whether the MP4 boxes fill the file to the last byte and include the index ("moov")."""
    if not path.is_file():
        return False
    kinds, position, size = set(), 0, path.stat().st_size
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            length, kind = struct.unpack(">I4s", file.read(8))
            kinds.add(kind)
            position += max(length, 8)
    return position == size and b"moov" in kinds


def _is_complete_gif(path: Path) -> bool:
    """Return whether the file starts and ends as a GIF does."""
    data = path.read_bytes() if path.is_file() else b""
    return data.startswith(b"GIF8") and data.endswith(b"\x3b")
