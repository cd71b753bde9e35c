"""Parses the docstring of a task: a summary, then paragraphs that begin with a bold heading."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SECTION = re.compile(r"\*\*([^*]+?)\.?\*\*[.,:]?\s*(.*)", re.DOTALL)


@dataclass(frozen=True)
class Description:
    """Description of a task in words."""

    summary: str
    """The task in one sentence."""
    sections: dict[str, str]
    """Text of each section, on one line, by heading ("Observation", "Success", "Episode end", …)."""

    @property
    def success(self) -> str:
        """Text of the section "Success"; the summary if the docstring has no such section."""
        return self.sections.get("Success", self.summary)


def describe(docstring: str) -> Description:
    """Return the description of a task in `docstring`, whose indentation `inspect.cleandoc` has removed."""
    summary, *paragraphs = docstring.replace("`", "").split("\n\n")
    sections = {}
    for paragraph in paragraphs:
        match = _SECTION.fullmatch(paragraph)
        if match:
            sections[match[1]] = " ".join(match[2].split())
    return Description(" ".join(summary.split()), sections)
