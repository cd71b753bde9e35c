"""Files of moving pictures: H.264 in MP4 for players and browsers, GIF for pages that play nothing else.

A file appears under its name when it is complete and never before; until then it has another, beside it.
"""

from __future__ import annotations

import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.interface import CONTROL_HZ
from simscaleai.errors import SimScaleError

Encoder = Generator[None, bytes | None, None]
"""Takes frames; `close` completes the file, and does not say whether that succeeded."""

FORMATS = (".mp4", ".gif")
"""What films can be, as the ends of their names."""

GIF_BYTES = 3_000_000
"""A GIF is at most this large: what pages of documentation can bear."""

_PARTIAL = ".partial-"
"""Begins the name of a film that is not complete."""

_GIF_QUALITIES = ((1, 256, 1.0), (2, 256, 1.0), (2, 64, 1.0), (2, 64, 0.75), (4, 64, 0.5), (4, 32, 0.25))
"""Ways to draw a GIF, from the best: every how many-th frame, colours, scale of the sides."""

_LAST_FRAME = 1.5  # what a GIF shows last, before it begins anew [s]


class Film(ABC):
    """A film being made. Frames follow each other at `CONTROL_HZ`: real time."""

    def __init__(self, path: Path) -> None:
        """Begin a film that will lie at `path`, in a folder that exists."""
        self.path = path
        self._temporary = path.with_name(f"{_PARTIAL}{path.name}")

    @abstractmethod
    def add(self, frame: NDArray[np.uint8]) -> None:
        """Add a frame (H, W, 3); height and width even, and the same for all."""

    @abstractmethod
    def finish(self) -> None:
        """Complete the file and put it under its name.

        Raises:
            SimScaleError: If it cannot be completed.
        """

    def discard(self) -> None:
        """Remove what there is of it."""
        self._temporary.unlink(missing_ok=True)

    def _send(self, encoder: Encoder, frame: NDArray[np.uint8]) -> None:
        try:
            encoder.send(frame.tobytes())
        except OSError as error:
            raise self._broken_off() from error

    def _broken_off(self) -> SimScaleError:
        self.discard()
        return SimScaleError(f"cannot complete {self.path}: the encoder broke off; is the disk full?")


def open_film(path: Path) -> Film:
    """Begin a film whose format follows from the end of its name, one of `FORMATS`."""
    return _Gif(path) if path.suffix.lower() == ".gif" else _Mp4(path)


def remove_unfinished_films(folder: Path) -> None:
    """Remove what processes that were killed while they filmed into `folder` left behind."""
    for path in folder.glob(f"{_PARTIAL}*"):
        path.unlink(missing_ok=True)


class _Mp4(Film):
    """H.264, yuv420p, with its index at the front so that browsers can begin to play at once."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._encoder: Encoder | None = None

    def add(self, frame: NDArray[np.uint8]) -> None:
        if self._encoder is None:
            options = {"quality": 7, "macro_block_size": 2, "output_params": ["-movflags", "+faststart"]}
            self._encoder = _start_encoder(self._temporary, frame, CONTROL_HZ, codec="libx264", **options)
        self._send(self._encoder, frame)

    def finish(self) -> None:
        self._end()
        if not _is_whole_mp4(self._temporary):
            raise self._broken_off()
        os.replace(self._temporary, self.path)

    def discard(self) -> None:
        self._end()
        super().discard()

    def _end(self) -> None:
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None


class _Gif(Film):
    """Frames of one palette, as fine as `GIF_BYTES` allow; the last frame stays a while."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._frames: list[NDArray[np.uint8]] = []

    def add(self, frame: NDArray[np.uint8]) -> None:
        self._frames.append(frame)

    def finish(self) -> None:
        for quality in _GIF_QUALITIES:
            self._write(*quality)
            if not _is_whole_gif(self._temporary):
                raise self._broken_off()
            if self._temporary.stat().st_size <= GIF_BYTES:
                break
        os.replace(self._temporary, self.path)

    def _write(self, stride: int, colours: int, scale: float) -> None:
        frames = self._frames[::-stride][::-1]  # the last, which tells how it ended, is always among them
        # Ordered dithering: what stands still stays the same, pixel by pixel, and takes no room.
        graph = (
            f"scale=iw*{scale}:-1:flags=lanczos,split[a][b];[a]palettegen=max_colors={colours - 1}[p];"
            "[b][p]paletteuse=dither=bayer:bayer_scale=4:diff_mode=rectangle"
        )
        encoder = _start_encoder(
            self._temporary,
            frames[0],
            CONTROL_HZ / stride,
            codec="gif",
            quality=None,
            pix_fmt_out="pal8",
            macro_block_size=1,
            output_params=["-filter_complex", graph, "-final_delay", str(round(100 * _LAST_FRAME)), "-f", "gif"],
        )
        for frame in frames:
            self._send(encoder, frame)
        encoder.close()


def _start_encoder(path: Path, frame: NDArray[np.uint8], rate: float, **options: Any) -> Encoder:
    """Start an encoder of frames like `frame`, `rate` of them a second."""
    from imageio_ffmpeg import write_frames

    height, width = frame.shape[:2]
    encoder: Encoder = write_frames(str(path), (width, height), fps=rate, ffmpeg_log_level="error", **options)
    encoder.send(None)
    return encoder


def _is_whole_mp4(path: Path) -> bool:
    """Return whether the boxes of the file fill it to the last byte and its index is among them."""
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


def _is_whole_gif(path: Path) -> bool:
    """Return whether the file begins and ends as a GIF does."""
    data = path.read_bytes() if path.is_file() else b""
    return data.startswith(b"GIF8") and data.endswith(b"\x3b")
