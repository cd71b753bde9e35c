"""Writes and reads the file `episodes.jsonl` of a run: one line for each finished episode.

The entries of a line are the fields of `eval.episodes.results.EpisodeResult`. Lines are appended while a run goes on.
At the end of the run the file is sorted by episode.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from eval.episodes.results import EpisodeResult, ResultsError
from simscaleai.files import append_line, file_size, replace_file
from simscaleai.json_data import DAMAGE, parse_json

EPISODES_FILE = "episodes.jsonl"
"""Name of the file in the folder of a run."""


def append_result(path: Path, result: EpisodeResult) -> None:
    """Append `result` to `path` as one flushed line, so that a killed run keeps every finished episode.

    Raises:
        WriteError: If the line cannot be written, for example on a full disk.
    """
    append_line(path, _line(result))


def write_results(path: Path, results: Iterable[EpisodeResult]) -> None:
    """Replace the content of `path` by `results`, sorted by episode, in one atomic operation.

    Raises:
        WriteError: If the file cannot be written.
    """
    ordered = sorted(results, key=lambda result: result.episode_index)
    replace_file(path, "".join(map(_line, ordered)))


def read_results(path: Path) -> list[EpisodeResult]:
    """Return the finished episodes in `path`, sorted by episode; an empty list without the file.

    A killed run may leave a last line without its newline. That episode counts as not finished.

    Raises:
        ResultsError: If any other line cannot be read, or an episode occurs twice.
    """
    return EpisodesReader(path).results()


class EpisodesReader:
    """Reads the episodes of a run again and again while the run goes on, each time only the lines that are new."""

    def __init__(self, path: Path) -> None:
        """Read `path`, which need not exist yet."""
        self._path = path
        self._forget()

    def _forget(self) -> None:
        self._inode, self._end = 0, 0
        """Which file was read, and up to which byte."""
        self._last = b""
        """The last line that was read. If it is no longer where it was, the file is another one."""
        self._results: dict[int, EpisodeResult] = {}

    def results(self) -> list[EpisodeResult]:
        """Return the finished episodes, see `read_results`. A file that was replaced or cut off is read anew.

        Raises:
            ResultsError: If a new line cannot be read, or repeats an episode.
        """
        if not self._path.exists():
            self._forget()
            return []
        file_size(self._path)  # raises for a pipe, whose end may never come
        with self._path.open("rb") as file:
            if not self._is_continued(file):
                self._forget()
            self._inode = os.fstat(file.fileno()).st_ino
            file.seek(self._end)
            self._add(file.read())
        return [self._results[index] for index in sorted(self._results)]

    def _is_continued(self, file: BinaryIO) -> bool:
        """Return whether `file` begins with what was read before."""
        file.seek(self._end - len(self._last))
        return os.fstat(file.fileno()).st_ino == self._inode and file.read(len(self._last)) == self._last

    def _add(self, content: bytes) -> None:
        """Add the episodes of the complete lines in `content`; after an error, none of them."""
        complete = content[: content.rfind(b"\n") + 1]
        new: dict[int, EpisodeResult] = {}
        for number, line in enumerate(complete.split(b"\n")[:-1], start=len(self._results) + 1):
            result = _parse(line, self._path, number)
            if result.episode_index in self._results or result.episode_index in new:
                raise ResultsError(
                    f"{self._path}, line {number}, repeats episode {result.episode_index}; "
                    "remove the line, or run it again"
                )
            new[result.episode_index] = result
        self._results |= new
        self._end += len(complete)
        self._last = complete[complete.rfind(b"\n", 0, -1) + 1 :] or self._last


def episodes_digest(folder: Path) -> str:
    """Return the SHA-256 of the episodes of the run in `folder`, in hexadecimal."""
    return hashlib.sha256((folder / EPISODES_FILE).read_bytes()).hexdigest()


def _line(result: EpisodeResult) -> str:
    text = json.dumps(result.to_json(), ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace").decode()  # an instruction may hold unpaired surrogates


def _parse(line: bytes, path: Path, number: int) -> EpisodeResult:
    try:
        return EpisodeResult.from_json(parse_json(line))
    except DAMAGE as error:
        raise ResultsError(f"{path}, line {number}, is no episode ({error}); restore or remove it") from error
