"""Builds pages of the API from its docstrings, with search; a warning is an error.

python docs/build.py api/
"""

import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import pdoc

PACKAGES = ("envs", "simscaleai", "policies", "eval")

# Within its class, `ModelRegistry.list` hides the type of that name from its own annotation.
HARMLESS = r"Error parsing type annotation list\[str\] for simscaleai\.models\.ModelRegistry\.list"


def build(folder: Path) -> None:
    """Write the pages into `folder`; `index.html` is the first of them.

    Raises:
        UserWarning: If a docstring or an annotation cannot be read.
    """
    pdoc.render.configure(docformat="google", footer_text=f"SimScaleAI {version('simscaleai')}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", HARMLESS)
        pdoc.pdoc(*PACKAGES, output_directory=folder)


if __name__ == "__main__":
    build(Path(*sys.argv[1:] or ["api"]))
