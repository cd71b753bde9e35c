"""The guide to served policies: the commands that evaluate one, as they stand there."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
GUIDE = (ROOT / "docs/guides/served_vla.md").read_text()


@pytest.mark.slow
def test_the_commands_of_the_guide_run(tmp_path):
    (adapter,) = re.findall(r"^```toml\n(# own\.toml\n.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    (commands,) = re.findall(r"^```bash\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    (tmp_path / "own.toml").write_text(adapter)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": path, "PORT": str(port)}
    words = ["bash", "-euc", f"trap 'kill $(jobs -p)' ERR\n{commands}"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
