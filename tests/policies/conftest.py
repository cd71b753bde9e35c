"""A folder of modules that tests may import, and a policy for it that needs no environment."""

import sys

import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder on the import path. Modules that a test imports from it are not imported any more afterwards."""
    before = set(sys.modules)
    path = tmp_path / "project"
    path.mkdir()
    monkeypatch.syspath_prepend(path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a change within the same second would go unseen
    yield path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def write(folder):
    """Writes a file below the folder; packages above it get their `__init__.py`."""

    def write_file(name, source, *, regular_packages=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if regular_packages:
            for package in path.relative_to(folder).parents[:-1]:
                (folder / package / "__init__.py").touch()
        path.write_text(source)
        return path

    return write_file
