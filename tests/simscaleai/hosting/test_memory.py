"""A process that keeps freed memory does not ask the system for it again."""

import platform
import subprocess
import sys

import pytest

STEPS = 20
CODE = f"""
import resource
import numpy as np
from simscaleai.hosting.memory import keep_freed_memory

def step():
    return [np.ones(1_500_000, np.uint8) for _ in range(2)] + [bytes(bytearray(400_000)) for _ in range(8)]

keep_freed_memory()
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({STEPS}):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps memory as it likes")
def test_memory_that_was_freed_is_not_asked_for_again():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    pages_of_a_step = 6_200_000 // 4096
    assert int(done.stdout) < STEPS * pages_of_a_step / 20
