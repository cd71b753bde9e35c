"""Writes and reads the file `episodes.jsonl` of a run: one line for each finished episode.

The entries of a line are the fields of `eval.episodes.results.EpisodeResult`. Lines are appended while a run goes on.
At the end of the run the file is sorted by episode.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from eval.episodes.results import EpisodeResult, ResultsError
from simscaleai.files import append_line, complete_lines, replace_file
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
    results: dict[int, EpisodeResult] = {}
    for number, line in enumerate(complete_lines(path), start=1):
        result = _parse(line, path, number)
        if result.episode_index in results:
            raise ResultsError(
                f"{path}, line {number}, repeats episode {result.episode_index}; remove the line, or run it again"
            )
        results[result.episode_index] = result
    return [results[index] for index in sorted(results)]


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
