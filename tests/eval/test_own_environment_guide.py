"""The guide to an environment of one's own: its files and commands, as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from eval.runs.reading import read_run

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/guides/own_environment.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_commands_of_the_guide_run(tmp_path):
    for source in blocks("python"):
        (tmp_path / re.match(r"# (\w+\.py)\n", source)[1]).write_text(source)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": path}
    words = ["bash", "-euc", "\n".join(blocks("bash"))]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "all promises are kept" in done.stdout
    assert "B is within the margin" in done.stdout
    assert (tmp_path / "report.html").is_file()
    assert read_run(tmp_path / "runs/careful").successes == 100
    easy, hard = read_run(tmp_path / "runs/tasks").record.summary.tasks.values()
    assert (easy.episodes, hard.episodes) == (50, 50)
