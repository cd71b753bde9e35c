"""A host under a real Python 3.8 gives what this interpreter gives. CI makes an environment for it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from envs.registration import find_environment
from envs.slots import check_slots
from eval.rollout import main as rollout
from eval.runs.reading import read_run
from simscaleai.hosting.interpreters import PYTHON_VARIABLE, find_python
from tests.envs.foreign.hosted_worlds import NAME, write_world
from tests.envs.foreign.test_remote import episode, everything

pytestmark = pytest.mark.slow

OLD = "SIMSCALE_TEST_PYTHON_3_8"
"""Environment variable with a Python 3.8 that has numpy and gymnasium."""


@pytest.fixture
def old_python():
    python = os.environ.get(OLD) or find_python(("3.8", f"{sys.version_info.major}.{sys.version_info.minor}"))
    code = "import sys, numpy, gymnasium; sys.exit(sys.version_info[:2] != (3, 8))"
    if subprocess.run([python, "-c", code], capture_output=True, check=False).returncode:
        pytest.skip(f"there is no Python 3.8 with numpy and gymnasium; name one with {OLD}")
    return str(python)


def test_it_gives_what_this_interpreter_gives(old_python, tmp_path, monkeypatch):
    write_world(tmp_path, monkeypatch)
    monkeypatch.delenv(PYTHON_VARIABLE)
    here = everything(find_environment(NAME))
    monkeypatch.setenv(PYTHON_VARIABLE, old_python)
    hosted = everything(find_environment(NAME))
    assert hosted.fingerprint()["hosted"]["python"].startswith("3.8.")
    assert check_slots(hosted)
    for slots, seeds in ((np.array([0, 2]), (5, 6)), (np.array([1]), (7,)), (np.array([0, 1, 2]), (6, 5, 5))):
        assert episode(hosted, slots, seeds) == episode(here, slots, seeds)
    hosted.close()
    here.close()
    sys.modules.pop("hosted_world", None)


def test_a_policy_acts_there(old_python, tmp_path, monkeypatch):
    write_world(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    digests = []
    for python in (old_python, sys.executable):
        words = ["--model", "host:hosted_world:Half", "--env", NAME, "--env-python", python, "--episodes", "4"]
        assert rollout([*words, "--output", f"run{len(digests)}", "--quiet"]) == 0
        digests.append([each.digest for each in read_run(Path(f"run{len(digests)}")).results])
    assert digests[0] == digests[1]
