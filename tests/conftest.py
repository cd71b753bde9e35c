"""What all tests share."""

import os
import sys

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")  # nothing fails because the machine has other work, too
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run in parallel: more threads would wait for each other

LASTING = {}
"""Modules by name that were found not to be temporary. There are thousands."""


@pytest.fixture(autouse=True)
def forget_temporary_modules(tmp_path_factory):
    """Removes modules that a test wrote and imported, so that the next test may use their names."""
    yield
    folder = str(tmp_path_factory.getbasetemp())
    for name, module in list(sys.modules.items()):
        if LASTING.get(name) is module:
            continue
        if str(getattr(module, "__file__", None)).startswith(folder):
            del sys.modules[name]
        else:
            LASTING[name] = module
