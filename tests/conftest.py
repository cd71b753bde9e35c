"""What all tests share."""

import os
import sys

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run in parallel: more threads would wait for each other


@pytest.fixture(autouse=True)
def forget_temporary_modules(tmp_path_factory):
    """Removes modules that a test wrote and imported, so that the next test may use their names."""
    yield
    folder = str(tmp_path_factory.getbasetemp())
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(folder):
            del sys.modules[name]
