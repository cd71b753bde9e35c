"""Atomic writes of files and folders, and a lock that lets only one process write to a folder."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simscaleai.errors import SimScaleError

_PARTIAL = ".tmp"


class WriteError(SimScaleError):
    """A file that cannot be written, for example because the disk is full."""


def replace_file(path: Path, data: bytes | str) -> None:
    """Write `data` to `path` atomically: if the process dies before the end, `path` keeps its old content.

    Args:
        path: The file. Its folder must exist.
        data: The content; text is written as UTF-8.

    Raises:
        WriteError: If the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")
    content = data.encode() if isinstance(data, str) else data
    try:
        with _write_errors(path):
            temporary.write_bytes(content)
            os.replace(temporary, path)
    except WriteError:
        temporary.unlink(missing_ok=True)
        raise


def append_line(path: Path, line: str) -> None:
    """Append `line`, which ends with a newline, to `path`. A process that dies may leave an incomplete line.

    Raises:
        WriteError: If the line cannot be written.
    """
    with _write_errors(path), path.open("a", encoding="utf-8") as file:
        file.write(line)


def complete_lines(path: Path) -> list[bytes]:
    """Return the lines of `path` that end with a newline, without it; an empty list if there is no such file.

    A killed process may leave a last line without a newline. That line counts as not written.
    """
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def remove_partial_files(folder: Path) -> None:
    """Remove temporary files of killed processes from `folder`. No other process may be writing to the folder."""
    for path in folder.glob(f".*{_PARTIAL}"):
        path.unlink(missing_ok=True)


def check_new_folder(path: Path) -> None:
    """Check that `path` can become a new folder: it does not exist, or it is an empty folder.

    The check creates missing folders for a moment and removes them again.

    Raises:
        SimScaleError: If `path` is a file, or a folder that holds something. Nothing is ever overwritten.
        OSError: If the folder cannot be created.
    """
    if path.exists() and not path.is_dir():
        raise SimScaleError(f"expected a folder to write to, {path} is a file; choose another --output")
    if path.is_dir() and any(path.iterdir()):
        raise SimScaleError(f"{path} is not empty; choose another --output or remove it first")
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)  # only an attempt shows what the file system allows
    for folder in missing:
        try:
            folder.rmdir()
        except OSError:  # another process writes into this parent already
            break


def create_folder(path: Path) -> None:
    """Create the folder `path` with its parents. It raises the same errors as `check_new_folder`."""
    check_new_folder(path)
    path.mkdir(parents=True, exist_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder, which is renamed to `path` at the end. After an exception, it is removed.

    Raises:
        SimScaleError: If `path` is a file, or a folder that holds something. Nothing is ever overwritten.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise SimScaleError(f"{path} exists already; choose another --output or remove it first")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on `folder`, which must exist. The lock of a killed process is released.

    Raises:
        SimScaleError: If another process holds the lock.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SimScaleError(
                f"another process is writing to {folder}; wait for it or choose another --output"
            ) from error
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WriteError(
            f"cannot write {path}: {error.strerror}; what was finished before is kept, so remove the cause and continue"
            " (with --resume, if the command has it)"
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
