"""Output of a command: lines for people, one JSON object for scripts, or nothing; escape codes only on a terminal."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Row = tuple[str, str]
"""Name and text. Rows without a text are left out."""

_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"
_WIDEST_RULE = 100  # characters


@dataclass(frozen=True)
class Console:
    """Output of one command, in the form that its user chose."""

    quiet: bool = False
    """Print warnings only, to standard error."""
    json: bool = False
    """Print one JSON object at the end, and nothing else to standard output."""

    def say(self, *lines: str) -> None:
        """Print lines for people while the command works."""
        if not (self.quiet or self.json):
            print(*lines, sep="\n", flush=True)

    def warn(self, text: str) -> None:
        """Print a warning, with `quiet` or `json` to standard error."""
        print(f"warning: {text}", file=sys.stderr if self.quiet or self.json else sys.stdout, flush=True)

    def conclude(self, rows: Iterable[Row], data: Callable[[], Mapping[str, Any]]) -> None:
        """Print the result.

        Args:
            rows: Result for people, the most important row first.
            data: Returns the result for scripts; called only with `json`.
        """
        if self.json:
            print(json.dumps(data(), indent=2, ensure_ascii=False), flush=True)
        else:
            self.say(_panel([(name, text) for name, text in rows if text]))


def rows_text(rows: Iterable[Row]) -> str:
    """Return `rows` as plain lines with the names in a column of their own."""
    return "\n".join(f"{name:<20} {text}".rstrip() for name, text in rows)


def _panel(rows: list[Row]) -> str:
    """Return `rows` as lines. On a terminal, they follow a rule, the first row is bold and the names are dim.

    The texts have no frame, so that commands among them can be copied.
    """
    if not sys.stdout.isatty():
        return rows_text(rows)
    width = min(_WIDEST_RULE, shutil.get_terminal_size().columns)
    (name, headline), *others = rows
    lines = [_styled(_BOLD, f"{name:<20} {headline}")]
    lines += [f"{_styled(_DIM, f'{name:<20}')} {text}" for name, text in others]
    return "\n".join([_styled(_DIM, "─" * width), *lines])


def _styled(style: str, text: str) -> str:
    """Return `text` in a style; plain if the user wants no colour (https://no-color.org) or the terminal has none."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else f"{style}{text}{_PLAIN}"
