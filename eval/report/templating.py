"""Loads the templates, and defines the filters with which they format numbers and text from run folders."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.statistics.percentage import points_text
from simscaleai.json_data import is_of_type

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).with_name("templates")

_COMMON_CHOICES = ("", "success", "max_episode_steps")
"""Choices in the id of an environment that its short name leaves out."""


@cache
def environment() -> Environment:
    """Return the Jinja environment. HTML templates escape all that they insert; Markdown uses `cell` and `fenced`."""
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


def page_parts() -> dict[str, str]:
    """Return what every page holds: its style, its script, and the digest by which the page allows the script."""
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"style": style, "script": script, "script_digest": digest}


def _filters() -> dict[str, Callable[..., Any]]:
    return {
        "points": points_text,
        "signed": lambda value: points_text(value, sign=True),
        "short": _short,
        "words": lambda name: name.replace("_", " "),
        "number": _number,
        "pretty": lambda data: json.dumps(data, indent=2, ensure_ascii=False),
        "cell": _cell,
        "fenced": _fenced,
    }


def _number(value: Any, digits: int = 3) -> str:
    """Return `value` with `digits` decimals; "—" for None, which in a receipt means that a number was not finite."""
    return f"{value:.{digits}f}" if is_of_type(value, float) else "—"


def _cell(text: object) -> str:
    """Return `text` as one line of Markdown without markup, which is also safe within a table."""
    return re.sub(r"([\\`*\[\]|])", r"\\\1", escape(" ".join(str(text).split()), quote=False))


def _fenced(text: str) -> str:
    """Return `text` as a block of code in Markdown, with a fence that is longer than any in the text."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def _short(environment: str) -> str:
    """Return the id of an environment without namespace, version, success rule and limit; of a suite, of its tasks."""
    return ", ".join(map(_short_task, environment.split(",")))


def _short_task(task: str) -> str:
    name, _, choices = task.partition("?")
    options = [choice for choice in choices.split("&") if choice.partition("=")[0] not in _COMMON_CHOICES]
    return " ".join([name.rsplit("/", 1)[-1].rsplit("-v", 1)[0], *options])
