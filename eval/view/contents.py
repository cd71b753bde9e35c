"""Answers requests for the pages of a folder of runs, from whatever the address names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from eval.report.templating import FOLDER as REPORT_TEMPLATES
from eval.runs.media_paths import VIDEOS_FOLDER, video_path
from eval.runs.run import Run
from eval.view.answer import CSS, FILM, HTML, JSON, SCRIPT, Answer
from eval.view.folder_files import check_no_links, checked_file
from eval.view.pages.episode_page import episode_page
from eval.view.pages.run_page import run_page
from eval.view.run_index import RunIndex
from simscaleai.errors import SimScaleError

Data: TypeAlias = Callable[..., dict[str, Any]]

TEMPLATES = Path(__file__).with_name("templates")
SCRIPTS = ("page.js", "drawings.js", "runs.js", "run.js", "episode.js", "comparison.js", "start.js")
"""Parts of the script, in their order."""

_MOST_FILM = 2_000_000_000  # [bytes]
_REPORT_POLICY = (
    "sandbox allow-scripts allow-modals; default-src 'none'; img-src data:; media-src data: blob:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)


class Contents:
    """What there is to show about the runs of a folder."""

    def __init__(self, index: RunIndex, kinds: Mapping[str, Data], report: Callable[[list[Path]], str]) -> None:
        """Show the runs of `index`.

        Args:
            index: The runs.
            kinds: Further kinds of data about whole runs, by name. Each is a function of one or two runs.
            report: Returns the HTML report of run folders.
        """
        self.index = index
        self._kinds = {"run": run_page, **kinds}
        self._report = report

    def answer(self, path: str) -> Answer:
        """Return the answer to the address `path`, without its leading slash.

        Raises:
            SimScaleError: If there is nothing at this address, or it cannot be shown.
        """
        kind, _, rest = path.partition("/")
        if path in ("", "index.html"):
            return Answer(HTML, (TEMPLATES / "index.html").read_bytes())
        if path == "view.css":
            return Answer(CSS, style())
        if path == "view.js":
            return Answer(SCRIPT, script())
        if kind == "data" and rest.endswith(".json"):
            return Answer(JSON, json.dumps(self.data(rest.removesuffix(".json")), allow_nan=False).encode())
        if kind == "film" and rest.endswith(".mp4"):
            key, _, index = rest.removesuffix(".mp4").partition("/")
            return Answer(FILM, self.film(key, _number(index)))
        if kind == "report" and rest.endswith(".html"):
            return Answer(HTML, self.report(rest.removesuffix(".html").split("/")), _REPORT_POLICY)
        raise SimScaleError("expected the address of a page of the view")

    def data(self, name: str) -> dict[str, Any]:
        """Return data by its name: `runs`, `run/KEY`, `episode/KEY/INDEX`, or another kind with one or two keys.

        Raises:
            SimScaleError: If there is no such data, or it cannot be read.
        """
        kind, *words = name.split("/")
        if kind == "runs" and not words:
            return self.index.rows()
        if kind == "episode" and len(words) == 2:
            return episode_page(self.index.run(words[0]), _number(words[1]), self.index.root)
        if kind not in self._kinds or not 1 <= len(words) <= 2:
            raise SimScaleError("expected the name of data of the view")
        return self._kinds[kind](*map(self._run_without_links if kind == "curves" else self.index.run, words))

    def film(self, key: str, index: int) -> Path:
        """Return the path of the film of an episode.

        Raises:
            SimScaleError: If there is none.
        """
        return checked_file(self.index.root, video_path(self.index.folder(key) / VIDEOS_FOLDER, index), _MOST_FILM)

    def report(self, keys: list[str]) -> bytes:
        """Return the report of the runs with these keys as an HTML page.

        Raises:
            SimScaleError: If a run cannot be read.
        """
        folders = [self._run_without_links(key).folder for key in keys[:2]]
        return self._report(folders).encode(errors="replace")

    def _run_without_links(self, key: str) -> Run:
        """Return a run, of whose folder a reader may open any file."""
        check_no_links(self.index.folder(key))
        return self.index.run(key)


def style() -> bytes:
    """Return the style of the pages, which begins with that of the reports."""
    return b"\n".join(path.read_bytes() for path in (REPORT_TEMPLATES / "style.css", TEMPLATES / "view.css"))


def script() -> bytes:
    """Return the script of the pages."""
    return b"\n".join((TEMPLATES / name).read_bytes() for name in SCRIPTS)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise SimScaleError(f"expected the index of an episode, got {text:.20}")
    return int(text)
