"""The commands of the guide to Meta-World, with fewer episodes and steps, where the suite is installed."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from envs.foreign.suites import find_suite
from eval.runs.reading import read_run
from simscaleai.hosting.interpreters import is_installed

GUIDE = (Path(__file__).resolve().parents[2] / "docs/guides/metaworld.md").read_text()
(LOOP,) = re.findall(r"^```bash\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
FEWER = {"--episodes": "6", "--steps": "300"}


@pytest.mark.slow
def test_the_whole_loop(tmp_path, monkeypatch):
    if not is_installed("metaworld", find_suite("metaworld").lock):
        pytest.skip("python -m envs install metaworld")
    monkeypatch.chdir(tmp_path)
    for line in LOOP.splitlines():
        _, _, module, *words = shlex.split(line)
        smaller = [FEWER.get(before, word) for before, word in zip(["", *words], words, strict=False)]
        if module == "eval.report":
            module = "eval.report.__main__"
        assert import_module(module).main(smaller) == 0, line
    assert {each.status for each in read_run(Path("runs/expert")).results} == {"success"}
    assert len(read_run(Path("runs/bc")).results) == 6
