"""The templates, and how they write numbers and foreign text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.comparison_text import finding_rows
from eval.percentage import points_text

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).with_name("templates")


@cache
def environment() -> Environment:
    """Return the templates' environment: HTML escapes all that it inserts, Markdown has `cell` and `fenced` for it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    templates = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= _filters()
    return templates


def _filters() -> dict[str, Callable[..., Any]]:
    return {
        "points": points_text,
        "signed": lambda value: points_text(value, sign=True),
        "short": lambda name: name.rsplit("/", 1)[-1].rsplit("-v", 1)[0],
        "words": lambda name: name.replace("_", " "),
        "number": _number,
        "findings": lambda comparison: dict(finding_rows(comparison)),
        "pretty": lambda data: json.dumps(data, indent=2, ensure_ascii=False),
        "cell": _cell,
        "fenced": _fenced,
    }


def _number(value: Any, digits: int = 3) -> str:
    """Return a measured number; "—" for one that is not finite, which records keep as null."""
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "—"


def _cell(text: object) -> str:
    """Return foreign text as one line of Markdown that means nothing but itself, also within a table."""
    return re.sub(r"([\\`*\[\]|])", r"\\\1", escape(" ".join(str(text).split()), quote=False))


def _fenced(text: str) -> str:
    """Return foreign text as a block of code in Markdown, fenced so that nothing in it can end the block."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
