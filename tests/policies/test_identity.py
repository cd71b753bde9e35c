"""The identity of a policy that is code: it follows the policy's own files, and nothing else."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from envs import find_environment
from policies.registry import make_policy
from simscaleai.extensions.identity import code_identity

ROOT = Path(__file__).resolve().parents[2]
REACH = find_environment("reach").offer()


def identity_in_another_process(folder, module, first=""):
    name = "simscaleai.extensions.identity"
    code = f"{first}\nimport {module}\nfrom {name} import code_identity\nprint(code_identity({module!r}))"
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    words = [sys.executable, "-c", code]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def package(write):
    """A package whose module `mine.policy` imports in every way that there is; returns the file of each module."""
    files = {
        "mine.absolute": "import numpy\n",
        "mine.relative": "from . import deeper\n",
        "mine.deeper": "X = 1\n",
        "mine.inner.member": "from ..absolute import numpy\n",
        "mine.lazy": "Y = 1\n",
        "mine.unrelated": "Z = 1\n",
    }
    written = {name: write(f"{name.replace('.', '/')}.py", source) for name, source in files.items()}
    written["mine.policy"] = write(
        "mine/policy.py",
        "import mine.absolute\nfrom .relative import deeper\nfrom mine.inner import member\n"
        "def act():\n    from mine.lazy import Y\n",
    )
    written["mine"] = written["mine.policy"].with_name("__init__.py")
    written["mine.inner"] = written["mine.inner.member"].with_name("__init__.py")
    importlib.import_module("mine.policy")
    return written


@pytest.mark.parametrize(
    "module",
    [
        "mine",
        "mine.policy",
        "mine.absolute",
        "mine.relative",
        "mine.deeper",
        "mine.inner",
        "mine.inner.member",
        "mine.lazy",
    ],
)
def test_it_changes_with_the_source_of_the_module_and_of_every_module_that_it_imports(package, module):
    before = code_identity("mine.policy")
    original = package[module].read_bytes()
    package[module].write_bytes(original + b"# changed\n")
    assert code_identity("mine.policy") != before
    package[module].write_bytes(original)
    assert code_identity("mine.policy") == before


def test_it_does_not_change_with_anything_else(package, write):
    before = code_identity("mine.policy")
    package["mine.unrelated"].write_text("Z = 2\n")
    write("mine/notes.txt", "notes")
    write("neighbour.py", "import mine.policy\n")
    for name in ("mine.unrelated", "neighbour"):
        importlib.import_module(name)
    assert code_identity("mine.policy") == before


def test_it_is_the_same_in_every_process_whatever_is_loaded(package, folder):
    here = code_identity("mine.policy")
    assert identity_in_another_process(folder, "mine.policy") == here
    assert identity_in_another_process(folder, "mine.policy", first="import mine.unrelated, gymnasium") == here


def test_modules_beside_a_single_module_count_if_it_imports_them(write, folder):
    write("single.py", "import beside, numpy\nfrom package_beside import member\n")
    files = [write("beside.py", "X = 1\n"), write("package_beside/member.py", "X = 1\n")]
    importlib.import_module("single")
    seen = {code_identity("single")}
    for file in files:
        file.write_text("X = 2\n")
        seen.add(code_identity("single"))
    assert len(seen) == 3
    write("unrelated.py", "")
    assert code_identity("single") in seen
    assert identity_in_another_process(folder, "single") in seen


def test_a_package_without_an_init_file_is_followed_too(write):
    file = write("loose/other.py", "X = 1\n", regular_packages=False)
    write("loose/policy.py", "from loose import other\n", regular_packages=False)
    importlib.import_module("loose.policy")
    before = code_identity("loose.policy")
    file.write_text("X = 2\n")
    assert code_identity("loose.policy") != before


def test_packages_of_this_project_do_not_count(write):
    """Another version of this project makes other records anyway, and the policy's own code is the same."""
    write("own.py", "from policies.base import Policy\n")
    stand_in = write("policies/base.py", "class Policy: ...\n")
    importlib.import_module("own")
    before = code_identity("own")
    stand_in.write_text("class Policy:\n    x = 1\n")
    assert code_identity("own") == before


def test_libraries_do_not_count_even_beside_an_installed_module(folder, write, monkeypatch):
    library = write("site-packages/library/__init__.py", "X = 1\n", regular_packages=False)
    installed = write("site-packages/installed.py", "import library\n", regular_packages=False)
    monkeypatch.syspath_prepend(folder / "site-packages")
    importlib.import_module("installed")
    before = code_identity("installed")
    library.write_text("X = 2\n")
    assert code_identity("installed") == before
    installed.write_text("import library\nY = 1\n")
    assert code_identity("installed") != before


@pytest.mark.parametrize("source", ["import broken\n", "from . import nothing\n", "from .. import nothing\n"])
def test_an_import_that_never_succeeds_is_no_obstacle(write, source):
    write("broken.py", "this is no Python\n")
    write("careful.py", f"try:\n    {source}except (ImportError, SyntaxError):\n    pass\n")
    importlib.import_module("careful")
    assert len(code_identity("careful")) == 64


FACTORIES = {
    "a policy of its own": "from policies.base import Needs, Policy\n"
    "class make(Policy):\n    def __init__(self, spec):\n        self.needs = Needs()\n",
    "a built-in class": "from policies.scripted.controls import ZeroPolicy as make\n",
    "a built-in policy by name": "from policies.registry import make_policy\n"
    "def make(spec):\n    return make_policy('scripted', spec=spec)\n",
    "a policy that says what it is": "from policies.scripted.controls import ZeroPolicy\n"
    "def make(spec):\n    policy = ZeroPolicy(spec)\n    policy.identity = 'mine'\n    return policy\n",
}


@pytest.mark.parametrize("kind", FACTORIES)
def test_a_factory_is_a_part_of_what_it_makes(write, kind):
    file = write("factory.py", FACTORIES[kind])
    first = make_policy("factory:make", spec=REACH).identity
    assert make_policy("factory:make", spec=REACH).identity == first
    file.write_text(FACTORIES[kind] + "# changed\n")
    assert make_policy("factory:make", spec=REACH).identity != first


def test_what_a_policy_says_of_itself_counts(write, monkeypatch):
    """For example the digest of weights that it has read."""
    write(
        "own.py", "import os\n" + FACTORIES["a policy that says what it is"].replace("'mine'", "os.environ['WEIGHTS']")
    )
    identities = set()
    for weights in ("a", "b", "a"):
        monkeypatch.setenv("WEIGHTS", weights)
        identities.add(make_policy("own:make", spec=REACH).identity)
    assert len(identities) == 2


def test_every_built_in_policy_has_an_identity():
    identities = {name: make_policy(name, spec=REACH).identity for name in ("scripted", "random", "zero")}
    assert all(len(identity) == 64 for identity in identities.values())
    assert identities["scripted"] != identities["random"]
