"""The links of README, CONTRIBUTING, CHANGELOG and the guides."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/guides/*.md")]


def headings(text):
    """Return the names by which links lead to the headings of `text`."""
    return {re.sub(r"[^\w -]", "", line).replace(" ", "-").lower() for line in re.findall(r"^##+ (.*)$", text, re.M)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        assert not heading or heading in headings(linked.read_text()), target


def test_the_readme_leads_to_every_guide():
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in PAGES if page.parent.name == "guides" and f"guides/{page.name}" not in readme] == []
