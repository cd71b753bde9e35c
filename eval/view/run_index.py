"""Finds the runs in a folder and keeps a line about each, by the size and time of its files."""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from threading import RLock
from typing import Any, TypeAlias

from eval.episodes.results import EpisodeResult
from eval.runs.log_file import EPISODES_FILE, EpisodesReader
from eval.runs.media_paths import FRAMES_FOLDER, MEDIA
from eval.runs.record import RunRecord
from eval.runs.run import Run
from eval.runs.versions import RECORD_FILE
from eval.view.folder_files import checked_file
from eval.view.rows import row_of
from simscaleai.errors import SimScaleError
from simscaleai.json_data import DAMAGE, damage_text

MOST_RUNS = 20_000
"""Largest number of runs that are listed."""

_MOST_ENTRIES = 50_000  # of a folder
_DEEPEST = 6  # folders below the one that is shown
_MOST_RECORD = 20_000_000  # [bytes]
_MOST_EPISODES = 1_000_000_000  # [bytes]
_BUDGET = 0.3  # [s] that a request may spend on reading runs
_MOST_LEFT_OUT = 200
_SAMPLES = 60
_KEPT = 4  # runs with all their episodes
_KEPT_READERS = 16  # runs that go on, of which only new episodes are read

_Stamp: TypeAlias = tuple[tuple[int, int, int], ...]


@dataclass
class _Known:
    """A run folder that was found."""

    folder: Path
    path: str
    """Path below the folder that is shown."""
    key: str
    """Name of the run in addresses."""
    stamp: _Stamp = ()
    """Sizes and times of its files when they were read."""
    row: dict[str, Any] = field(default_factory=dict)
    """Its line; empty as long as it was not read, or if it cannot be."""
    reason: str = ""
    """Why it cannot be read; "" if it can."""
    samples: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    """Times of change of its episodes with their number, for the pace of a run that goes on."""


class RunIndex:
    """The runs in a folder. It is safe to use from several threads."""

    def __init__(self, root: Path) -> None:
        """Show the runs in `root`, which is a folder."""
        self.root = root.resolve()
        self._known: dict[str, _Known] = {}
        self._left_out: dict[str, str] = {}
        self._runs: dict[str, tuple[_Stamp, Run]] = {}
        self._readers: dict[Path, EpisodesReader] = {}
        self._lock = RLock()

    def rows(self, budget: float = _BUDGET) -> dict[str, Any]:
        """Return a line about each run, after reading those that have changed for at most `budget` seconds."""
        with self._lock:
            self._find()
            waiting = self._read_changed(time.monotonic() + budget)
            damaged = {known.path: known.reason for known in self._known.values() if known.reason}
            left_out = [*damaged.items(), *self._left_out.items()]
            return {
                "root": self.root.name,
                "now": time.time(),
                "waiting": waiting,
                "runs": [known.row for known in self._known.values() if known.row],
                "left_out": [{"path": path, "reason": reason} for path, reason in left_out[:_MOST_LEFT_OUT]],
                "left_out_count": len(left_out),
            }

    def folder(self, key: str) -> Path:
        """Return the folder of the run with this key.

        Raises:
            SimScaleError: If there is none.
        """
        with self._lock:
            if key not in self._known:
                self._find()
            if key not in self._known:
                raise SimScaleError(f"expected the key of a run in {self.root.name}, got {key:.20}")
            return self._known[key].folder

    def run(self, key: str) -> Run:
        """Return the run with this key and all its episodes.

        Raises:
            SimScaleError: If there is none, or it cannot be read.
        """
        folder = self.folder(key)
        stamp = _stamp(folder)
        with self._lock:
            if key not in self._runs or self._runs[key][0] != stamp:
                self._check(folder)
                self._runs.pop(key, None)
                record = RunRecord.read(folder)
                self._runs[key] = stamp, Run(folder, record, tuple(self._results(folder)))
                while len(self._runs) > _KEPT:
                    self._runs.pop(next(iter(self._runs)))
            return self._runs[key][1]

    def _results(self, folder: Path) -> list[EpisodeResult]:
        """Return the episodes of the run in `folder`. If it was asked for not long ago, only new ones are read."""
        reader = self._readers.pop(folder, None) or EpisodesReader(folder / EPISODES_FILE)
        self._readers[folder] = reader
        while len(self._readers) > _KEPT_READERS:
            self._readers.pop(next(iter(self._readers)))
        return reader.results()

    def _find(self) -> None:
        """Update which run folders there are."""
        self._left_out = {}
        found = dict(islice(((_key(path), (folder, path)) for folder, path in self._walk(self.root, "", 0)), MOST_RUNS))
        self._known = {
            key: self._known.get(key) or _Known(folder, path or self.root.name, key)
            for key, (folder, path) in found.items()
        }
        if len(found) == MOST_RUNS:
            self._left_out["."] = f"only {MOST_RUNS} runs are listed; view a folder below this one"

    def _walk(self, folder: Path, path: str, depth: int) -> Iterator[tuple[Path, str]]:
        """Yield the folders of runs in `folder`, which lies at `path` below the root."""
        try:
            with os.scandir(folder) as listing:
                entries = sorted(islice(listing, _MOST_ENTRIES + 1), key=lambda entry: entry.name)
        except OSError as error:
            self._left_out[path or "."] = f"cannot be read: {error.strerror}"
            return
        if len(entries) > _MOST_ENTRIES:
            self._left_out[path or "."] = f"holds more than {_MOST_ENTRIES} files and folders"
            return
        if any(entry.name == RECORD_FILE for entry in entries):
            yield folder, path
        for entry in entries:
            below = f"{path}/{entry.name}" if path else entry.name
            if entry.is_symlink() and entry.is_dir():
                self._left_out[below] = "is a link; links are not followed"
            elif entry.is_dir(follow_symlinks=False) and _may_hold_runs(entry.name):
                if depth < _DEEPEST:
                    yield from self._walk(folder / entry.name, below, depth + 1)
                else:
                    self._left_out[below] = f"lies more than {_DEEPEST} folders deep"

    def _read_changed(self, end: float) -> int:
        """Read the runs that have changed until the time `end`, at least one; return how many are left."""
        changed = [(known, stamp) for known in self._known.values() if (stamp := _stamp(known.folder)) != known.stamp]
        for number, (known, stamp) in enumerate(changed, start=1):
            self._read(known, stamp)
            if time.monotonic() > end:
                return len(changed) - number
        return 0

    def _read(self, known: _Known, stamp: _Stamp) -> None:
        known.stamp, known.reason = stamp, ""
        try:
            self._check(known.folder)
            record = RunRecord.read(known.folder)
            results = [] if record.summary else self._results(known.folder)
            known.row = row_of(known.folder, record, results)
        except (SimScaleError, OSError, *DAMAGE) as error:
            known.row, known.reason = {}, damage_text(error).replace(str(self.root), self.root.name)
            return
        changed = max((time_ns / 1e9 for _, time_ns, _ in stamp), default=0.0)
        known.samples.append((changed, known.row["done"]))
        known.row |= {"key": known.key, "path": known.path, "changed": changed}
        if not known.row["ended"]:
            known.row["pace"] = _pace(known)

    def _check(self, folder: Path) -> None:
        """Raise `SimScaleError` unless the files of the run in `folder` may be read."""
        checked_file(self.root, folder / RECORD_FILE, _MOST_RECORD)
        if os.path.lexists(folder / EPISODES_FILE):
            checked_file(self.root, folder / EPISODES_FILE, _MOST_EPISODES)


def _may_hold_runs(name: str) -> bool:
    return not name.startswith(".") and name not in (*MEDIA, str(FRAMES_FOLDER))


def _key(path: str) -> str:
    """Return a name for the run at `path` that is safe in addresses and names of files."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _stamp(folder: Path) -> _Stamp:
    """Return size, time of change [ns] and inode of the files of the run in `folder` that exist."""
    found = []
    for name in (RECORD_FILE, EPISODES_FILE):
        with suppress(OSError):
            status = os.lstat(os.path.join(folder, name))
            found.append((status.st_size, status.st_mtime_ns, status.st_ino))
    return tuple(found)


def _pace(known: _Known) -> float | None:
    """Return the episodes per second of a run that goes on; None if it is not known yet."""
    (first, before), (last, now) = known.samples[0], known.samples[-1]
    if now > before and last > first:
        return (now - before) / (last - first)
    try:
        since = last - datetime.fromisoformat(known.row["started"] or "").timestamp()
    except ValueError:
        return None
    return now / since if now and since > 0 else None
