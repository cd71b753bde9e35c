"""Builds the site: README, the guides, and pages of the API from the docstrings, with search. A warning is an error.

python docs/build.py site/
"""

import os
import re
import shutil
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import jinja2
import pdoc
from pdoc import render_helpers

ROOT = Path(__file__).resolve().parents[1]

PACKAGES = ("envs", "simscaleai", "policies", "eval")

FIRST_GUIDES = (
    "first_evaluation",
    "own_policy",
    "own_environment",
    "comparing",
    "robustness",
    "lerobot",
    "served_vla",
    "adding_a_task",
    "scale",
)
"""Order of the guides in the menu; the others follow by name."""

HARMLESS = (
    # Within the class, the method `ModelRegistry.list` hides the type `list` from its own annotation.
    r"Error parsing type annotation list\[str\] for simscaleai\.models\.ModelRegistry\.list",
    # The constructor of a NamedTuple does not know the imports of its module.
    r"Error parsing type annotation ForwardRef\(.* for .*\.__init__",
    # Nor does that of a dataclass know the imports of the module of its base class.
    r"Error parsing type annotation .* for .*\.__init__\. Import of \w+ failed",
)


def build(folder: Path) -> None:
    """Write the site into `folder`. Its first page is `index.html`, the README.

    Raises:
        UserWarning: If a docstring or an annotation cannot be read.
        FileNotFoundError: If a page has a link to a file that does not exist.
    """
    build_api(folder / "api")
    sources = page_sources()
    for source in sources:
        write_page(source, sources, folder)


def build_api(folder: Path) -> None:
    """Write the pages of the API into `folder`."""
    pdoc.render.configure(docformat="google", footer_text=f"SimScaleAI {version('simscaleai')}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for message in HARMLESS:
            warnings.filterwarnings("ignore", message)
        pdoc.pdoc(*PACKAGES, output_directory=folder)


def page_sources() -> dict[Path, str]:
    """Return the Markdown file of each page and its title, in the order of the menu."""
    guides = {path.stem: path for path in sorted((ROOT / "docs/guides").glob("*.md"))}
    ordered = [guides.pop(name) for name in FIRST_GUIDES if name in guides] + list(guides.values())
    files = [ROOT / "README.md", *ordered, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    return {path: re.match(r"# (.*)", path.read_text(encoding="utf-8"))[1] for path in files}  # type: ignore[index]


def page_path(source: Path) -> Path:
    """Return the path of the page of a Markdown file, relative to the folder of the site."""
    return Path("index.html") if source.name == "README.md" else source.relative_to(ROOT).with_suffix(".html")


def write_page(source: Path, sources: dict[Path, str], folder: Path) -> None:
    """Write the page of the Markdown file `source`, and copy the other files that it links to."""
    here = page_path(source)
    up = os.path.relpath(".", here.parent)
    html = render_helpers.to_html(source.read_text(encoding="utf-8"))

    def lead(match: re.Match[str]) -> str:
        attribute, target = match.groups()
        path, mark, heading = target.partition("#")
        if not path or "://" in path:
            return match[0]
        linked = (source.parent / path).resolve()
        if linked in sources:
            place = page_path(linked)
        else:
            place = linked.relative_to(ROOT)
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(linked, folder / place)
        return f'{attribute}="{os.path.relpath(place, here.parent)}{mark}{heading}"'

    menu = [(title, os.path.relpath(page_path(path), here.parent), path == source) for path, title in sources.items()]
    template = jinja2.Template((ROOT / "docs/page.html.jinja").read_text(encoding="utf-8"), autoescape=True)
    body = re.sub(r'(href|src)="([^"]*)"', lead, str(html))
    (folder / here).parent.mkdir(parents=True, exist_ok=True)
    text = template.render(title=sources[source], menu=[*menu, ("API", f"{up}/api/index.html", False)], body=body)
    (folder / here).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    build(Path(*sys.argv[1:] or ["site"]))
