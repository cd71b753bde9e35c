"""Runs guides: writes the files that a guide shows, then runs its commands, as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Guide:
    """One page of docs/guides, and a folder in which its commands run."""

    def __init__(self, name, folder):
        self.text = (ROOT / "docs/guides" / f"{name}.md").read_text()
        self.folder = folder

    def blocks(self, *languages):
        found = re.findall(r"^```(\w*)\n(.*?)^```", self.text, re.MULTILINE | re.DOTALL)
        return [source for language, source in found if language in languages]

    def write_files(self):
        for source in self.blocks("python"):
            path = self.folder / re.match(r"# (\S+\.py)\n", source)[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)

    def run(self, commands=None, code=ROOT):
        """Run `commands`, by default all of the guide, with the packages in the folder `code`; return the output."""
        script = "\n".join(self.blocks("bash")) if commands is None else commands
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PYTHONPATH": str(code), "PATH": path}
        words = ["bash", "-euc", script]
        done = subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
        return done.stdout


@pytest.fixture
def guide(tmp_path):
    return lambda name: Guide(name, tmp_path)
