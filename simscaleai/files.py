"""Atomic writes of files and folders, and a lock that lets only one process write to a folder."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path

from simscaleai.errors import SimScaleError

_PARTIAL = ".tmp"
_UNFINISHED = ".unfinished"
_ATTEMPTS = 20


class WriteError(SimScaleError):
    """A file that cannot be written, for example because the disk is full."""


def file_size(path: Path) -> int:
    """Return the size of the regular file `path` [bytes].

    Reading something else, such as a pipe or a device, might never end.

    Raises:
        SimScaleError: If `path` is no regular file.
        OSError: If there is nothing at `path`.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise SimScaleError(f"expected a regular file, got {path}, which is a folder, pipe or device")
    return status.st_size


def read_file(path: Path, most: float = inf) -> bytes:
    """Return the content of the regular file `path`, which may have at most `most` bytes.

    Raises:
        SimScaleError: If `path` is no regular file, or too large.
        OSError: If it cannot be read.
    """
    size = file_size(path)
    if size > most:
        raise SimScaleError(f"expected at most {most:.0f} bytes in {path}, got {size}")
    return path.read_bytes()


def replace_file(path: Path, data: bytes | str) -> None:
    """Write `data` to `path` atomically: if the process dies before the end, `path` keeps its old content.

    Args:
        path: The file. Its folder must exist.
        data: The content; text is written as UTF-8, and half a character (a lone surrogate) as its escape sequence.

    Raises:
        WriteError: If the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")
    content = data.encode(errors="backslashreplace") if isinstance(data, str) else data
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
    with _write_errors(path), path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(line)


def complete_lines(path: Path) -> list[bytes]:
    """Return the lines of `path` that end with a newline, without it; an empty list if there is no such file.

    A killed process may leave a last line without a newline. That line counts as not written.
    """
    return read_file(path).split(b"\n")[:-1] if path.exists() else []


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
    _check_no_file(path)
    if path.is_dir() and any(path.iterdir()):
        raise SimScaleError(f"{path} is not empty; choose another --output or remove it first")
    check_folder(path)


def check_folder(path: Path) -> None:
    """Check that `path` is or can become a folder in which files can be written; nothing is left of the attempt.

    Raises:
        OSError: If it is a file, or the folder or a file in it cannot be created.
    """
    created = _make_folders(path)  # only an attempt shows what the file system allows
    try:
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        _remove_empty(created)


@contextmanager
def output_folder(path: Path) -> Iterator[None]:
    """Create the folder `path` with its parents, and hold its lock. At the end, remove what is new and still empty.

    Raises:
        SimScaleError: If `path` is a file, or another process holds the lock.
        OSError: If the folder cannot be created.
    """
    _check_no_file(path)
    with _locked_output(path, _make_folders(path)):
        yield


@contextmanager
def first_free_folder(paths: Iterable[Path]) -> Iterator[Path]:
    """Create the first of `paths` at which there is nothing yet, hold its lock, and yield it.

    At the end, what is new and still empty is removed.

    Raises:
        OSError: If the folder cannot be created.
    """
    for path in paths:
        created = _make_folders(path.parent)
        try:
            path.mkdir()  # of several processes, one succeeds
        except FileExistsError:
            continue
        with _locked_output(path, [path, *created]):
            yield path
        return


@contextmanager
def _locked_output(path: Path, created: list[Path]) -> Iterator[None]:
    """Hold the lock of the folder `path`. At the end, remove those of `created` that are still empty."""
    with locked(path):
        try:
            yield
        finally:
            _remove_empty(created)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill. At the end its content moves to `path`; after an exception it is removed.

    The temporary folder lies in `path`, which may therefore be an empty folder of any kind: a link to one, a mount
    point, or the working directory. The lock of `path` is held meanwhile.

    Raises:
        SimScaleError: If `path` is a file, a folder that holds something, or locked. Nothing is ever overwritten.
        OSError: If the folder cannot be created.
    """
    with output_folder(path):
        for left in path.glob(f".*{_UNFINISHED}"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        check_new_folder(path)
        temporary = Path(tempfile.mkdtemp(prefix=".", suffix=_UNFINISHED, dir=path))
        moved: list[Path] = []
        try:
            yield temporary
            for entry in sorted(temporary.iterdir()):
                moved.append(entry.rename(path / entry.name))
        except BaseException:
            for entry in moved:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


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
            is_busy = not (folder.exists() and os.path.samestat(os.fstat(descriptor), folder.stat()))
        except BlockingIOError:
            is_busy = True
        if is_busy:  # also if another process has just removed the folder
            raise SimScaleError(f"another process is writing to {folder}; wait for it or choose another --output")
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


def _check_no_file(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise SimScaleError(f"expected a folder to write to, {path} is a file; choose another --output")


def _make_folders(path: Path) -> list[Path]:
    """Create the folder `path` with its parents, and return those that were missing, the innermost first."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for _ in range(_ATTEMPTS):
        with suppress(FileNotFoundError):  # another process has just removed a parent that it had created for a check
            path.mkdir(parents=True, exist_ok=True)
            return missing
    path.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_empty(folders: list[Path]) -> None:
    """Remove `folders`, the innermost first, up to the first that holds something."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
