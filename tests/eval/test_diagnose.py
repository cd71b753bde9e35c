"""The command: its output, its exit codes, and mistakes of the user. The guide, as it stands there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from seeing_world import write_dataset

from eval import diagnose

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/guides/diagnose.md").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeing") / "data"
    write_dataset(folder)
    return str(folder)


@pytest.fixture
def adapter(tmp_path, monkeypatch):
    """Writes a user's file with a policy whose `give` has this body."""

    def write(body):
        lines = ["import numpy as np", "from seeing_world import Solver", "class Adapter(Solver):"]
        lines += ["    def give(self, actions, seen):", f"        {body}"]
        (tmp_path / "adapter.py").write_text("\n".join(lines))
        return "adapter.py:Adapter"

    monkeypatch.chdir(tmp_path)
    return write


def test_a_sound_policy_ends_with_code_0(folder, adapter, capsys):
    assert diagnose.main(["--model", adapter("return actions"), "--dataset", folder]) == 0
    printed = capsys.readouterr().out
    assert re.match(r"found +nothing, in 272 looks at 20 recorded episodes\n", printed)


def test_a_fault_ends_with_code_1_and_its_evidence(folder, adapter, capsys):
    model = adapter("return actions * [1, 1, 1, -1]")
    assert diagnose.main(["--model", model, "--dataset", folder]) == 1
    printed = capsys.readouterr().out
    assert re.search(r"^action.sign +action.3 has the wrong sign$", printed, re.MULTILINE)
    assert "in 14 of 14 episodes" in printed
    assert diagnose.main(["--model", model, "--dataset", folder, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    (fault,) = found["faults"]
    assert (fault["fault"], fault["evidence"]["lower_in"]) == ("action.sign", 14)
    assert fault["evidence"]["error_after"] < 1e-6 < found["agreement"]["error"]


@pytest.mark.parametrize(
    ("model", "flags", "message"),
    [
        ("return actions[:, :3]", [], "expected chunks as float32 array of shape (1, H, 4)"),
        ("return actions", ["--episodes", "5"], "expected --episodes of at least 12, got 5"),
        ("return actions", ["--env", "reech"], "Did you mean 'reach'?"),
        ("raise KeyError('wrist')", [], "the policy cannot answer recorded observations: KeyError: 'wrist'"),
    ],
)
def test_mistakes_are_one_line(folder, adapter, capsys, model, flags, message):
    assert diagnose.main(["--model", adapter(model), "--dataset", folder, *flags]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_commands_of_the_guide_run(tmp_path):
    (source,), (commands,) = (
        re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL) for language in ("python", "bash")
    )
    (tmp_path / "adapter.py").write_text(source)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": path}
    words = ["bash", "-euc", commands]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^found +(images.channels, action.sign|action.sign, images.channels), in", done.stdout, re.M)
    assert re.search(r"^found +nothing, in", done.stdout, re.MULTILINE)
