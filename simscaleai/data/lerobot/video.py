"""Reads frames from videos, in which most LeRobotDatasets store their images."""

from __future__ import annotations

from pathlib import Path

import imageio_ffmpeg
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from simscaleai.data.lerobot.images import scale_image


def read_video(path: Path, first: int, count: int, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Return `count` frames of the video in `path` from frame `first` on, shape (count, H, W, 3).

    Args:
        path: The video, of constant frame rate.
        first: Number of the first frame, from 0.
        count: Number of frames.
        size: Height and width that frames are scaled to; None keeps their size.

    Raises:
        OSError: If the video cannot be read.
        ValueError: If the video has fewer frames.
    """
    if not path.is_file():
        raise FileNotFoundError(f"video {path} is missing")
    select = ["-vf", f"select='between(n\\,{first}\\,{first + count - 1})'", "-fps_mode", "passthrough"]
    reader = imageio_ffmpeg.read_frames(str(path), output_params=[*select, "-frames:v", str(count)])
    try:
        size_in_file = next(reader)["size"]
    except OSError as error:  # the text contains everything that ffmpeg printed
        raise OSError(f"video {path} cannot be read: {str(error).strip().splitlines()[-1].strip()}") from None
    frames = [scale_image(PIL.Image.frombytes("RGB", size_in_file, frame), size) for frame in reader]
    if len(frames) != count:
        raise ValueError(f"video {path} has fewer than {count} frames from frame {first} on")
    return np.stack(frames)
