"""A server of the policy `Walker`."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from served import Walker, serving


@pytest.fixture
def walker():
    return Walker()


@pytest.fixture
def server(walker):
    with serving(walker) as run:
        yield run
