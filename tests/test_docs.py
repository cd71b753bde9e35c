"""The site: README, guides, and pages of the API, which build from the docstrings without a warning."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_pages_build_without_a_warning_and_hold_the_docstrings(tmp_path):
    pytest.importorskip("pdoc", reason="pip install -e '.[docs]'")
    words = [sys.executable, "docs/build.py", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "eval/rollout.html" in (tmp_path / "api/eval.html").read_text()
    page = (tmp_path / "api/eval/rollout.html").read_text()
    assert 'id="run"' in page
    assert ">Raises:</h6>" in page  # a section that was understood
    assert 'id="_run_and_judge"' not in page
    first = (tmp_path / "index.html").read_text()
    assert 'href="docs/guides/comparing.html"' in first
    assert (tmp_path / "docs/demo.gif").is_file()
    guide = (tmp_path / "docs/guides/comparing.html").read_text()
    assert 'href="robustness.html"' in guide
    assert 'href="../../api/index.html"' in guide
