"""Builds pages of the API from the docstrings, with search. A warning is an error.

python docs/build.py api/
"""

import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import pdoc

PACKAGES = ("envs", "simscaleai", "policies", "eval")

HARMLESS = (
    # Within the class, the method `ModelRegistry.list` hides the type `list` from its own annotation.
    r"Error parsing type annotation list\[str\] for simscaleai\.models\.ModelRegistry\.list",
    # The constructor of a NamedTuple does not know the imports of its module.
    r"Error parsing type annotation ForwardRef\(.* for .*\.__init__",
)


def build(folder: Path) -> None:
    """Write the pages into `folder`. The first page is `index.html`.

    Raises:
        UserWarning: If a docstring or an annotation cannot be read.
    """
    pdoc.render.configure(docformat="google", footer_text=f"SimScaleAI {version('simscaleai')}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for message in HARMLESS:
            warnings.filterwarnings("ignore", message)
        pdoc.pdoc(*PACKAGES, output_directory=folder)


if __name__ == "__main__":
    build(Path(*sys.argv[1:] or ["api"]))
