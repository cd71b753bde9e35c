"""Files that are either whole or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simscaleai.errors import SimScaleError

_PARTIAL = ".tmp"


def replace_file(path: Path, data: bytes) -> None:
    """Make `path` hold `data`, or leave it as it was if the process dies first.

    Raises:
        SimScaleError: If it cannot be written, for example on a full disk.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")
    try:
        with _told_where(path):
            temporary.write_bytes(data)
            os.replace(temporary, path)
    except SimScaleError:
        temporary.unlink(missing_ok=True)
        raise


def append_line(path: Path, line: str) -> None:
    """Append `line`, which ends with a newline, to `path`; a process that dies may leave half of it.

    Raises:
        SimScaleError: If it cannot be written, for example on a full disk.
    """
    with _told_where(path), path.open("a", encoding="utf-8") as file:
        file.write(line)


def remove_partial_files(folder: Path) -> None:
    """Remove what processes that died in `replace_file` have left in `folder`; nobody else may be writing there."""
    for path in folder.glob(f".*{_PARTIAL}"):
        path.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder to fill, which becomes `path` at the end; after an error nothing is left of it.

    Raises:
        SimScaleError: If `path` is a file or a folder that holds something: nothing is ever overwritten.
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
def _told_where(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SimScaleError(f"cannot write {path}: {error.strerror}; what was finished before is kept") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
