"""Errors that are a user's mistake: one line that says what was expected, what came, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SimScaleError(ValueError):
    """A user's mistake, reported without a traceback by the commands."""


class UnknownNameError(SimScaleError):
    """A name that is not registered; the text proposes the nearest one."""

    def __init__(self, kind: str, name: str, available: Iterable[str]) -> None:
        """Build the message.

        Args:
            kind: What the name should be, for example "model".
            name: What came.
            available: The names that exist.
        """
        names = sorted(available)
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"Unknown {kind} {name!r}.{hint} Available: {', '.join(names)}.")
