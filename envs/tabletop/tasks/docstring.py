"""Reads what a task is from its docstring: a summary, then paragraphs that begin with a bold heading."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SECTION = re.compile(r"\*\*([^*]+?)\.?\*\*[.,:]?\s*(.*)", re.DOTALL)


@dataclass(frozen=True)
class Description:
    """A task in words."""

    summary: str
    """What is to be done, in one sentence."""
    sections: dict[str, str]
    """Headings of the docstring ("Observation", "Success", "Episode end", …) to their text, on one line each."""

    @property
    def success(self) -> str:
        """When an episode is a success; the summary where the docstring has no such section."""
        return self.sections.get("Success", self.summary)


def describe(docstring: str) -> Description:
    """Return what `docstring`, cleaned of its indentation, says of a task."""
    summary, *paragraphs = docstring.replace("`", "").split("\n\n")
    sections = {}
    for paragraph in paragraphs:
        match = _SECTION.fullmatch(paragraph)
        if match:
            sections[match[1]] = " ".join(match[2].split())
    return Description(" ".join(summary.split()), sections)
