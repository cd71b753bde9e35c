"""The guide to the environments and models of this project: its Python."""

import pytest


@pytest.mark.slow
def test_the_python_of_the_guide_runs(guide):
    page = guide("environments")
    for source in page.blocks("python"):
        page.run(f"python - <<'END'\n{source}\nEND")
