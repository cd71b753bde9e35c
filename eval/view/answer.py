"""What the view answers to a request: a media type with bytes, or with a file to send."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HTML, CSS, SCRIPT, JSON = "text/html", "text/css", "text/javascript", "application/json"
FILM = "video/mp4"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy of the pages: only their own scripts run, and they reach nothing else."""


@dataclass(frozen=True)
class Answer:
    """The answer to one request."""

    kind: str
    """Media type."""
    body: bytes | Path
    """The content, or a file that holds it."""
    policy: str = POLICY
    """Content security policy."""
