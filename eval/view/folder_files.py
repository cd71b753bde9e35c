"""Which files of a folder of unknown origin may be read: regular ones inside it, of a bounded size, never a link."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from simscaleai.errors import SimScaleError

_EPISODE = re.compile(r"episode_(\d{6,18})")
_MOST_FILES = 100_000


def checked_file(root: Path, path: Path, most: int) -> Path:
    """Return `path` if it may be read.

    Args:
        root: Folder that holds everything which may be read, without links in its path.
        path: A file below `root`.
        most: Largest size [bytes].

    Raises:
        SimScaleError: If there is no such file, or it is a link, no regular file, too large, or outside of `root`.
    """
    try:
        status = path.lstat()
        is_inside = path.resolve().is_relative_to(root)
    except (OSError, ValueError, RuntimeError) as error:
        raise SimScaleError(f"cannot read {path.name}: {error}") from error
    if stat.S_ISLNK(status.st_mode) or not is_inside:
        raise SimScaleError(f"{path.name} is, or lies behind, a link; links are not followed")
    if not stat.S_ISREG(status.st_mode):
        raise SimScaleError(f"expected a regular file, got {path.name}, which is a folder, pipe or device")
    if status.st_size > most:
        raise SimScaleError(f"{path.name} has {status.st_size} bytes, which is more than {most}")
    return path


def check_no_links(folder: Path) -> None:
    """Check that no file or folder below `folder` is a link, or one of too many.

    Raises:
        SimScaleError: If one is.
    """
    seen = 0
    for parent, folders, files in os.walk(folder):
        seen += len(folders) + len(files)
        if seen > _MOST_FILES:
            raise SimScaleError(f"{folder.name} holds more than {_MOST_FILES} files")
        for name in (*folders, *files):
            if os.path.islink(os.path.join(parent, name)):
                raise SimScaleError(f"{name} in {folder.name} is a link; links are not followed")


def episode_files(folder: Path, suffix: str) -> list[int]:
    """Return the indices of the episodes that have a file with this suffix in `folder`, the newest file first."""
    found: dict[int, float] = {}
    if folder.is_symlink() or not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        for entry in entries:
            name, ending = os.path.splitext(entry.name)
            match = _EPISODE.fullmatch(name)
            if match and ending == suffix and entry.is_file(follow_symlinks=False):
                found[int(match[1])] = entry.stat(follow_symlinks=False).st_mtime
    return sorted(found, key=lambda index: (-found[index], index))
