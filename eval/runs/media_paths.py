"""Names of the files that belong to one episode of a run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

VIDEOS_FOLDER = "videos"
"""Folder of the videos, below the folder of a run."""

TRACES_FOLDER = "traces"
"""Folder of the traces, below the folder of a run."""


def video_path(folder: Path, episode_index: int) -> Path:
    """Return the path of the video of an episode in `folder`."""
    return folder / f"episode_{episode_index:06d}.mp4"


def video_paths(folder: Path, episodes: Iterable[int]) -> dict[int, Path]:
    """Return episode index to the path of the video in `folder`, for each of `episodes`."""
    return {index: video_path(folder, index) for index in episodes}


def trace_path(folder: Path, episode_index: int) -> Path:
    """Return the path of the trace of an episode in `folder`."""
    return folder / f"episode_{episode_index:06d}.npz"


def trace_paths(folder: Path, episodes: Iterable[int]) -> dict[int, Path]:
    """Return episode index to the path of the trace in `folder`, for each of `episodes`."""
    return {index: trace_path(folder, index) for index in episodes}
