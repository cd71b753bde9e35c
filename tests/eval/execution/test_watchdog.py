"""A party that does not answer is named while the run waits for it."""

import time
from math import inf
from pathlib import Path
from types import SimpleNamespace

import pytest

from eval.episodes.pulse import ENVIRONMENT, POLICY, Pulse
from eval.execution.watchdog import WARN_SECONDS, Watchdog
from tests.waiting import wait_until


@pytest.fixture
def clock(monkeypatch):
    """The time in seconds, which stands still, as the list of one number."""
    now = [0.0]
    monkeypatch.setattr("eval.episodes.pulse.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr("eval.execution.watchdog._SECONDS_BETWEEN_CHECKS", 0.005)
    return now


@pytest.fixture
def warnings(capsys):
    """Returns the warnings until now."""
    text = []

    def read():
        text.append(capsys.readouterr().err)
        return "".join(text).splitlines()

    return read


@pytest.mark.parametrize(("party", "name"), [(POLICY, "policy"), (ENVIRONMENT, "environment")])
def test_silence_is_told_and_told_again_much_later(clock, warnings, party, name):
    pulse = Pulse()
    with Watchdog(pulse, Path("r"), 100, warn_after=1), pulse.waiting_for(party, [3]):
        for seconds, told in ((1.1, 1), (3.9, 1), (4.1, 2), (15.9, 2), (16.1, 3)):
            clock[0] = seconds
            wait_until(lambda told=told: len(warnings()) >= told)
    text = "warning: the {} has not answered for {} s; slots 3 wait; the run ends after 100 s (--timeout)"
    assert warnings() == [text.format(name, seconds) for seconds in (1, 4, 16)]


def test_a_slow_policy_causes_few_warnings(clock, warnings):
    pulse = Pulse()
    with Watchdog(pulse, Path("r"), inf, warn_after=1):
        for _ in range(4):
            with pulse.waiting_for(POLICY, [0]):
                clock[0] += 3.5
                wait_until(warnings)
                time.sleep(0.05)  # for further warnings, which would be wrong
    (line,) = warnings()
    assert line == "warning: the policy has not answered for 1 s; slots 0 wait"


def test_the_first_warning_comes_within_a_minute():
    assert WARN_SECONDS < 60
