"""The commands of the guide to robustness, as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/guides/robustness.md").read_text()


@pytest.mark.slow
def test_the_commands_of_the_guide_run(tmp_path):
    commands = re.search(r"^```bash\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)[1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": path}
    words = ["bash", "-euc", commands]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "light.intensity" in done.stdout
    assert "not covered" in done.stdout
    assert (tmp_path / "robust.html").is_file()
