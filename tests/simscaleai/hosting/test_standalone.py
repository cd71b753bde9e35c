"""The files that hosts load run under Python 3.8, without packages of this project."""

import ast
import os
import subprocess
from pathlib import Path

import pytest

from simscaleai.errors import SimScaleError
from simscaleai.hosting.interpreters import find_python

ROOT = Path(__file__).resolve().parents[3]
STANDALONE = [
    ROOT / "envs" / "foreign" / "gym_slot.py",
    ROOT / "envs" / "foreign" / "gym_spaces.py",
    ROOT / "envs" / "foreign" / "hosted_source.py",
    ROOT / "envs" / "foreign" / "host.py",
    ROOT / "policies" / "foreign" / "host.py",
    *(ROOT / "policies" / "foreign" / "libraries").glob("*_policy.py"),
    ROOT / "policies" / "foreign" / "libraries" / "streams.py",
    ROOT / "simscaleai" / "hosting" / "answering.py",
    ROOT / "simscaleai" / "hosting" / "wire.py",
    *(path for path in (ROOT / "envs" / "foreign" / "suites").glob("*.py") if path.name != "__init__.py"),
]


@pytest.mark.parametrize("path", STANDALONE, ids=lambda path: path.name)
def test_python_3_8_can_parse_it(path):
    ast.parse(path.read_text(), feature_version=(3, 8))


@pytest.mark.parametrize("path", STANDALONE, ids=lambda path: path.name)
def test_it_imports_no_package_of_ours(path):
    names = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    } - {"envs.foreign.gym_spaces"}  # which a host finds as "gym_spaces"
    assert not {name.partition(".")[0] for name in names} & {"envs", "eval", "policies", "simscaleai"}


def test_python_3_8_runs_it():
    """A module stands in for NumPy if this Python has none: names that are used at import are looked up."""
    try:
        python = find_python(("3.8",))
    except SimScaleError:
        pytest.skip("there is no Python 3.8")
    stub = (
        "import sys, types\n"
        "try:\n    import numpy\n"
        "except ImportError:\n"
        "    class Stub(types.ModuleType):\n"
        "        def __getattr__(self, name): return Stub(name)\n"
        "        def __call__(self, *args): return Stub('called')\n"
        "    sys.modules['numpy'] = Stub('numpy')\n"
    )
    code = stub + "import runpy\nfor path in sys.argv[1:]:\n    runpy.run_path(path, run_name='loaded')\n"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    loaded = ("gym_slot.py", "hosted_source.py", "lerobot_policy.py", "sb3_policy.py")  # by one of the hosts
    paths = [path for path in STANDALONE if path.name not in loaded]
    command = [python, "-c", code, *paths]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
