"""Names of the files that belong to one episode or one arm of a run, and of the runs below a battery.

The folder of a battery is the run of the policy that is tested. Runs of the same starts by others are below it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

VIDEOS_FOLDER = "videos"
"""Folder of the videos, below the folder of a run."""

TRACES_FOLDER = "traces"
"""Folder of the traces, below the folder of a run."""

RERUN_FOLDER = "rerun"
"""Folder of the recordings for the Rerun viewer, below the folder of a run."""

REPORT_FILE = "report.html"
"""Page of a run or battery, in its folder."""

EXPERT_FOLDER = Path("expert")
"""Run of the privileged expert, below the folder of the battery."""

POLICIES_FOLDER = Path("policies")
"""Folder of the runs of further policies, below the folder of the battery."""

OPTIONS_FOLDER = Path("options")
"""Folder of the runs with other options of the policy, below the folder of the battery."""

FRAMES_FOLDER = Path("frames")
"""Folder of the pictures of the first start in every arm, below the folder of the battery."""


def frame_path(folder: Path, arm: str) -> Path:
    """Return the path of the picture of an arm, in the folder of a battery."""
    return folder / FRAMES_FOLDER / f"{arm.replace(' ', '+')}.png"


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


def rerun_path(folder: Path, episode_index: int) -> Path:
    """Return the path of the recording of an episode for the Rerun viewer, in `folder`."""
    return folder / f"episode_{episode_index:06d}.rrd"


def rerun_paths(folder: Path, episodes: Iterable[int]) -> dict[int, Path]:
    """Return episode index to the path of the recording in `folder`, for each of `episodes`."""
    return {index: rerun_path(folder, index) for index in episodes}


MEDIA: Mapping[str, Callable[[Path, int], Path]] = {
    VIDEOS_FOLDER: video_path,
    TRACES_FOLDER: trace_path,
    RERUN_FOLDER: rerun_path,
}
"""Folders that hold at most one file for each episode, below the folder of a run, to the function that names it."""


def media_paths(run: Path, episode_index: int) -> list[Path]:
    """Return the paths of the files that an episode may have in the folders of `MEDIA`, below the folder `run`."""
    return [path_of(run / name, episode_index) for name, path_of in MEDIA.items()]
