"""Errors reach other processes with their type and their text: an error that cannot be unpickled hangs a pool."""

import pickle

import pytest

from simscaleai.errors import ConformanceError, MismatchError, SimScaleError, UnknownNameError


@pytest.mark.parametrize(
    "error",
    [
        SimScaleError("do this"),
        ConformanceError("broken promise"),
        UnknownNameError("model", "vlaa", ["vla", "bc"]),
        MismatchError(["camera: front, none", "state: 18, 20"]),
    ],
)
def test_an_error_survives_the_way_to_another_process(error):
    sent = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (type(sent), str(sent), vars(sent)) == (type(error), str(error), vars(error))
