"""What a command says: lines for people, one JSON object for scripts, or nothing; escape codes only on a terminal."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Row = tuple[str, str]
"""Name and text; rows without a text are left out."""

_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"
_WIDEST = 100
"""Characters of the line above a panel, on however wide a terminal."""


@dataclass(frozen=True)
class Console:
    """Standard output of one command, as its user wants it."""

    quiet: bool = False
    """Print warnings only, to standard error."""
    json: bool = False
    """Print one JSON object in the end, and nothing else to standard output."""

    def say(self, *lines: str) -> None:
        """Print lines for people, on the way."""
        if not (self.quiet or self.json):
            print(*lines, sep="\n", flush=True)

    def warn(self, text: str) -> None:
        """Print a warning; where standard output is for scripts, or shall be empty, to standard error."""
        print(f"warning: {text}", file=sys.stderr if self.quiet or self.json else sys.stdout, flush=True)

    def conclude(self, rows: Iterable[Row], data: Callable[[], Mapping[str, Any]]) -> None:
        """Print what was found and where it lies: `rows` for people, the most important one first, or `data`."""
        if self.json:
            print(json.dumps(data(), indent=2, ensure_ascii=False), flush=True)
        else:
            self.say(_panel([(name, text) for name, text in rows if text]))


def rows_text(rows: Iterable[Row]) -> str:
    """Return `rows` as plain lines, the names in a column of their own."""
    return "\n".join(f"{name:<20} {text}".rstrip() for name, text in rows)


def _panel(rows: list[Row]) -> str:
    """Return `rows` as lines; on a terminal below a rule, the first of them bold and the names faint.

    Nothing stands beside the texts, so that commands can be copied.
    """
    if not sys.stdout.isatty():
        return rows_text(rows)
    width = min(_WIDEST, shutil.get_terminal_size().columns)
    (name, headline), *others = rows
    lines = [_styled(_BOLD, f"{name:<20} {headline}")]
    lines += [f"{_styled(_DIM, f'{name:<20}')} {text}" for name, text in others]
    return "\n".join([_styled(_DIM, "─" * width), *lines])


def _styled(style: str, text: str) -> str:
    """Return `text` in a style, unless the user wants none (https://no-color.org) or the terminal knows none."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else f"{style}{text}{_PLAIN}"
