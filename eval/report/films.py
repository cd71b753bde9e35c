"""Which videos go into the page: the most telling ones, as many as it may hold."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from pathlib import Path

from eval.comparison import Pair
from eval.observers.video import video_path
from eval.report.findings import ComparisonReport, Report, RunReport
from eval.results import EpisodeResult

MOST_BYTES = 7_000_000
"""Of all videos together. As base64 they are a third larger, and the page stays below 10 MB."""

MOST_FILMS = 12
"""In the page; it is to be looked through."""


@dataclass(frozen=True)
class Film:
    """The video of one episode."""

    report: RunReport
    result: EpisodeResult
    data: str
    """The MP4 in base64."""


@dataclass
class Films:
    """Videos chosen for a page: first pairs in which one policy succeeded and the other not, then failures."""

    pairs: list[tuple[ComparisonReport, Film, Film]] = field(default_factory=list)
    """Videos of the same episode by A and by B."""
    single: list[Film] = field(default_factory=list)
    """Videos of other episodes."""
    left_out: list[Path] = field(default_factory=list)
    """Videos for which there was no room."""
    _bytes: int = 0

    @classmethod
    def choose(cls, report: Report) -> Films:
        """Choose among all videos that lie in the folders of the runs of `report`."""
        films = cls()
        for comparison in report.comparisons:
            for pair in comparison.comparison.discordant:
                films._take_pair(comparison, pair)
        shown = {(film.report.name, film.result.seed) for _, *both in films.pairs for film in both}
        for run, result in _by_interest(report.runs):
            if (run.name, result.seed) not in shown:
                films._take(run, result)
        return films

    def of_run(self, run: RunReport) -> list[Film]:
        """Return the videos of `run` that are in no pair."""
        return [film for film in self.single if film.report is run]

    def of_comparison(self, comparison: ComparisonReport) -> list[tuple[Film, Film]]:
        """Return the videos of the pairs of `comparison`."""
        return [(a, b) for owner, a, b in self.pairs if owner is comparison]

    def _take_pair(self, comparison: ComparisonReport, pair: Pair) -> None:
        paths = _video(comparison.a, pair.a), _video(comparison.b, pair.b)
        films = self._read(*paths)
        if films is not None:
            a, b = films
            self.pairs.append((comparison, Film(comparison.a, pair.a, a), Film(comparison.b, pair.b, b)))

    def _take(self, run: RunReport, result: EpisodeResult) -> None:
        path = _video(run, result)
        films = self._read(path)
        if films is not None:
            self.single.append(Film(run, result, *films))
        elif _is_video(path):
            self.left_out.append(path)

    def _read(self, *paths: Path) -> list[str] | None:
        """Return the contents of `paths` in base64; None if one is no video, or there is no room for all of them."""
        if not all(map(_is_video, paths)):
            return None
        size, number = sum(path.stat().st_size for path in paths), len(self.single) + 2 * len(self.pairs)
        if self._bytes + size > MOST_BYTES or number + len(paths) > MOST_FILMS:
            return None
        self._bytes += size
        return [base64.b64encode(path.read_bytes()).decode("ascii") for path in paths]


def _by_interest(runs: Iterable[RunReport]) -> Iterator[tuple[RunReport, EpisodeResult]]:
    """Yield the episodes of all runs in turn, of each the failures first."""
    queues = (
        [(run, result) for result in sorted(run.results, key=lambda result: result.status == "success")] for run in runs
    )
    return (item for item in chain.from_iterable(zip_longest(*queues)) if item is not None)


def _video(report: RunReport, result: EpisodeResult) -> Path:
    return video_path(report.run.folder / "videos", result.episode_index)


def _is_video(path: Path) -> bool:
    """Return whether there is an MP4 at `path`; a file that is damaged from its first bytes on is none."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(12)[4:8] == b"ftyp"
