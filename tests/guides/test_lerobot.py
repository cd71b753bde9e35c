"""The commands of the guide to policies of LeRobot, with fewer episodes, where LeRobot is installed."""

import re
import shlex
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from eval.runs.reading import read_run
from policies.foreign.libraries import find_library
from simscaleai.hosting.interpreters import installed_python, is_installed

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/guides/lerobot.md").read_text()
(COMMANDS,) = re.findall(r"^```bash\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
WRITE = """
import sys
sys.path[:0] = sys.argv[1:3]
import lerobot_policy
del sys.path[:2]  # which hold a lerobot.py of this project
lerobot_policy.save_random_act(sys.argv[3], {"front": 96, "wrist": 96}, int(sys.argv[4]), 4)
"""


@pytest.mark.slow
def test_the_commands(tmp_path, monkeypatch):
    """A policy of random weights stands for a trained one."""
    library = find_library("lerobot")
    if not is_installed(library.name, library.lock):
        pytest.skip("python -m policies install lerobot")
    monkeypatch.chdir(tmp_path)
    from envs.registration import find_environment

    size = find_environment("pick-place").offer().vectors["state"].size
    folders = [ROOT / "simscaleai/hosting", ROOT / "policies/foreign/libraries"]
    python = installed_python(library.name, library.lock)
    subprocess.run([python, "-c", WRITE, *folders, "outputs/act", str(size)], check=True)
    for line in COMMANDS.splitlines():
        _, _, module, *words = shlex.split(line)
        smaller = ["2" if before == "--episodes" else word for before, word in zip(["", *words], words, strict=False)]
        assert import_module(module).main(smaller) in (0, 2), line  # two episodes cannot tell policies apart
    assert [each.status for each in read_run(Path("runs/act")).results] == ["failure"] * 2
