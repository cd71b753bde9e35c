"""Reads frames by their time from videos, in which most LeRobotDatasets store their images."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from simscaleai.data.episode_file import DatasetError
from simscaleai.data.exchange.pixels import DeepImagesError, check_size, scaled
from simscaleai.files import file_size

_SECONDS_BEFORE = 1.0  # decoding starts at the last key frame before this much before the first frame
_TIME_BASE = re.compile(rb"config in time_base: (\d+)/(\d+)")
_FRAME = re.compile(rb"\] n: *\d+ pts: *(-?\d+) .*fmt:(\w+)")

Pixels = NDArray[np.uint8]


def read_video(path: Path, times: NDArray[np.float64], tolerance: float, size: tuple[int, int] | None = None) -> Pixels:
    """Return the frame of the video in `path` that is nearest to each of `times`, shape (T, H, W, 3).

    The times stored in the video count, not the rate that it claims.

    Args:
        path: The video.
        times: Times from the start of the video [s], ascending, shape (T,).
        tolerance: Largest distance of a frame from its time [s].
        size: Height and width that frames are scaled to; None keeps their size.

    Raises:
        OSError: If the video cannot be read.
        ValueError: If no frame lies near one of the times, or the pixels have more than 8 bits.
        DatasetError: If no ffmpeg is installed.
    """
    distances, images = np.full(len(times), np.inf), None
    with closing(_frames(path, times[0] - tolerance, times[-1] + tolerance)) as frames:
        for time, pixels in frames:
            nearer = np.abs(times - time) < np.minimum(distances, tolerance)
            if nearer.any():
                image = scaled(pixels, size)
                images = np.empty((len(times), *image.shape), np.uint8) if images is None else images
                images[nearer], distances[nearer] = image, np.abs(times - time)[nearer]
    missing = np.flatnonzero(np.isinf(distances))
    if images is None or len(missing):
        at = times[0] if images is None else times[missing[0]]
        raise ValueError(f"video {path} has no frame within {tolerance:.3g} s of {at:.3f} s")
    return images


def _frames(path: Path, start: float, end: float) -> Generator[tuple[float, Pixels]]:
    """Yield time [s] and pixels (H, W, 3) of each frame from `start` to `end`."""
    file_size(path)
    seek = start - _SECONDS_BEFORE
    command = [
        *(_ffmpeg(), "-nostdin", "-hide_banner", "-xerror", "-copyts"),
        *(("-seek_timestamp", "1", "-noaccurate_seek", "-ss", f"{seek:.6f}") if seek > 0 else ()),
        *("-i", f"file:{path}", "-map", "0:v:0", "-vf", f"trim=start={start:.6f}:end={end:.6f},showinfo=checksum=0"),
        *("-fps_mode", "passthrough", "-c:v", "ppm", "-pix_fmt", "rgb24", "-f", "image2pipe", "-"),
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=2**20
    )
    output, log = cast(IO[bytes], process.stdout), cast(IO[bytes], process.stderr)
    lines = _Log(log)
    try:
        while (pixels := _read_picture(output)) is not None:
            time, pixel_format = lines.frames.get(timeout=60)
            if pixel_format.startswith(("gray", "ya")) and pixel_format not in ("gray", "ya8"):
                raise DeepImagesError(pixel_format)
            yield time, pixels
        if process.wait():
            lines.join()
            raise OSError(f"video {path} cannot be read: {lines.last}")
    finally:
        process.kill()
        process.wait()
        lines.join()
        output.close()
        log.close()


class _Log(Thread):
    """Reads what ffmpeg prints while it decodes: one line for each frame, before the frame itself."""

    def __init__(self, log: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._log = log
        self.frames: SimpleQueue[tuple[float, str]] = SimpleQueue()
        """Time [s] and pixel format of each frame."""
        self.last = ""
        """The last line."""
        self.start()

    def run(self) -> None:
        seconds = 0.0
        for line in self._log:
            if base := _TIME_BASE.search(line):
                seconds = int(base[1]) / int(base[2])
            if frame := _FRAME.search(line):
                self.frames.put((int(frame[1]) * seconds, frame[2].decode()))
            self.last = line.decode(errors="replace").strip() or self.last


def _read_picture(stream: IO[bytes]) -> Pixels | None:
    """Read one picture in PPM format; None at the end of the stream."""
    if not stream.readline():
        return None
    width, height = map(int, stream.readline().split())
    check_size(height, width)
    stream.readline()  # the largest value of a pixel, 255
    return np.frombuffer(stream.read(3 * height * width), np.uint8).reshape(height, width, 3)


def _ffmpeg() -> str:
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise DatasetError(f"videos need ffmpeg, and none is installed: {error}") from None
