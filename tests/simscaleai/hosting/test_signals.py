"""Calls as signals, with arguments and results in shared arrays; and hosts that answer something else."""

import sys
from pathlib import Path

import numpy as np
import pytest

from simscaleai.errors import SimScaleError
from simscaleai.hosting.process import HostError, HostLost, HostProcess

WIRE = Path(__file__).resolve().parents[3] / "simscaleai" / "hosting"
HOST = f"""
import socket, sys
sys.path.insert(0, {str(WIRE)!r})
import wire
connection = socket.socket(fileno=int(sys.argv[1]))
while True:
    call = wire.receive(connection)
    if isinstance(call, wire.Message):
        shared = wire.shared_arrays(call.body["file"], call.body["layout"])
        wire.send(connection, {{}})
    elif call.code == 0:
        shared["numbers"] *= 2
        wire.send_signal(connection, call)
    elif call.code == 1:
        wire.send(connection, {{"error": "fault", "text": "no", "slot": 3}})
    else:
        wire.send_signal(connection, wire.Signal(0, 0))
"""
LAYOUT = [["numbers", "float64", [3]]]


@pytest.fixture
def host(tmp_path):
    (tmp_path / "host.py").write_text(HOST)
    made = HostProcess(Path(sys.executable), tmp_path / "host.py")
    yield made
    made.close()


def test_a_signal_works_on_shared_arrays(host):
    numbers = host.share(LAYOUT)["numbers"]
    numbers[:] = 1, 2, 3
    host.signal(0, 5)
    np.testing.assert_array_equal(numbers, [2, 4, 6])
    with pytest.raises(HostError, match="no") as error:
        host.signal(1, 0)
    assert error.value.slot == 3
    host.signal(0, 0)
    np.testing.assert_array_equal(numbers, [4, 8, 12])


def test_a_host_that_answers_another_signal_is_lost(host):
    host.share(LAYOUT)
    with pytest.raises(HostLost, match="expected the signal back"):
        host.signal(2, 4)


def test_more_memory_than_can_be_shared_is_a_mistake_of_the_user(host):
    with pytest.raises(SimScaleError, match="use a smaller --num-envs"):
        host.share([["images", "uint8", [2**20, 2**20]]])
