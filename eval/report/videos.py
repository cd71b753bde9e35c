"""Chooses the videos of a page: the most informative ones, up to a limit on number and size."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from pathlib import Path

from eval.comparison.outcome import Comparison, Pair
from eval.episodes.results import EpisodeResult
from eval.runs.media_paths import VIDEOS_FOLDER, video_path
from eval.runs.run import Run

MOST_BYTES = 7_000_000
"""Largest size of all videos of a page together. Base64 adds a third, so the page stays below 10 MB."""

MOST_VIDEOS = 12
"""Largest number of videos of a page."""


@dataclass(frozen=True)
class Video:
    """The video of one episode."""

    run: Run
    result: EpisodeResult
    data: str
    """The MP4 in base64."""


@dataclass
class Videos:
    """Videos chosen for a page: first pairs in which only one policy succeeded, then failures, then others."""

    pairs: list[tuple[Comparison, Video, Video]] = field(default_factory=list)
    """Videos of the same episode, one of A and one of B."""
    single: list[Video] = field(default_factory=list)
    """Videos of other episodes."""
    left_out: list[Path] = field(default_factory=list)
    """Paths of the videos that exceed a limit."""
    _bytes: int = 0

    @classmethod
    def choose(cls, comparisons: Iterable[Comparison], runs: Sequence[Run]) -> Videos:
        """Choose among all videos in the folders of `runs`."""
        videos = cls()
        for comparison in comparisons:
            for pair in comparison.discordant:
                videos._add_pair(comparison, pair)
        shown = {_path(video.run, video.result) for _, *both in videos.pairs for video in both}
        for run, result in _by_interest(runs):
            if _path(run, result) not in shown:
                videos._add(run, result)
        return videos

    def of_run(self, run: Run) -> list[Video]:
        """Return the videos of `run` that are in no pair."""
        return [video for video in self.single if video.run is run]

    def of_comparison(self, comparison: Comparison) -> list[tuple[Video, Video]]:
        """Return the videos of the pairs of `comparison`."""
        return [(a, b) for owner, a, b in self.pairs if owner is comparison]

    def _add_pair(self, comparison: Comparison, pair: Pair) -> None:
        contents = self._read(_path(comparison.a, pair.a), _path(comparison.b, pair.b))
        if contents is not None:
            a, b = contents
            self.pairs.append((comparison, Video(comparison.a, pair.a, a), Video(comparison.b, pair.b, b)))

    def _add(self, run: Run, result: EpisodeResult) -> None:
        path = _path(run, result)
        contents = self._read(path)
        if contents is not None:
            self.single.append(Video(run, result, *contents))
        elif _is_video(path):
            self.left_out.append(path)

    def _read(self, *paths: Path) -> list[str] | None:
        """Return the contents of `paths` in base64; None if one is not a video, or if they exceed a limit."""
        if not all(map(_is_video, paths)):
            return None
        size, number = sum(path.stat().st_size for path in paths), len(self.single) + 2 * len(self.pairs)
        if self._bytes + size > MOST_BYTES or number + len(paths) > MOST_VIDEOS:
            return None
        self._bytes += size
        return [base64.b64encode(path.read_bytes()).decode("ascii") for path in paths]


def _by_interest(runs: Sequence[Run]) -> Iterator[tuple[Run, EpisodeResult]]:
    """Yield one episode of each run in turn, the failures of each run first."""
    queues = (
        [(run, result) for result in sorted(run.results, key=lambda result: result.status == "success")] for run in runs
    )
    return (item for item in chain.from_iterable(zip_longest(*queues)) if item is not None)


def _path(run: Run, result: EpisodeResult) -> Path:
    return video_path(run.folder / VIDEOS_FOLDER, result.episode_index)


def _is_video(path: Path) -> bool:
    """Return whether there is an MP4 at `path`, by its first bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(12)[4:8] == b"ftyp"
